#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/core/bytes.hpp"
#include "io/core/outcome.hpp"

/// Plain values as bytes, between processes of one program on one machine (io/core/worker_pool).
/// What is read is foreign: every count, enumerator and offset is checked.
///
/// A struct takes part by WSP_FIELDS(Type, member, ...), in its namespace, which does not compile
/// when a member is left out, and may have a bool is_possible(const Type&); an enum by
/// wsp::wire::kLast<Enum>.
#define WSP_FIELDS(TYPE, ...)                \
  inline auto fields_of(TYPE& whole_value) { \
    auto& [__VA_ARGS__] = whole_value;       \
    return std::tie(__VA_ARGS__);            \
  }

namespace wsp::wire {

/// The last enumerator of an enum that begins at 0.
template <class Enum>
inline constexpr std::optional<Enum> kLast = std::nullopt;
template <>
inline constexpr std::optional<Code> kLast<Code> = static_cast<Code>(0
#define WSP_CODE(name, kind, meaning, remedy) +1
#include "codes.inc"
#undef WSP_CODE
                                                                     - 1);

/// What stands there was never written so.
struct Malformed : std::runtime_error {
  Malformed() : std::runtime_error("malformed bytes from another process") {}
};

template <class T>
inline constexpr bool kIsNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;

/// Numbers of more bytes than this lie in shared memory, where there is some.
inline constexpr std::size_t kLarge = std::size_t{1} << 15;

class Writer {
 public:
  /// `shared`, or null, takes large numbers; it must outlive what is written.
  explicit Writer(BytesArena* shared = nullptr) : shared_(shared) {}

  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      put<std::uint8_t>(value ? 1 : 0);
    } else if constexpr (std::is_arithmetic_v<T>) {
      raw(&value, sizeof value);
    } else if constexpr (std::is_enum_v<T>) {
      static_assert(kLast<T>.has_value(), "give the enum a wire::kLast");
      put(static_cast<std::uint32_t>(value));
    } else {
      put_class(value);
    }
  }
  /// Numbers in one piece.
  template <class T>
  void put_numbers(std::span<const T> values) {
    put(values.size());
    const bool apart = shared_ != nullptr && values.size_bytes() >= kLarge;
    put(apart);
    if (apart)
      put(shared_->offset_of(std::as_bytes(values)));
    else
      raw(values.data(), values.size_bytes());
  }

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

 private:
  void raw(const void* from, std::size_t n) { bytes_.append(static_cast<const char*>(from), n); }
  template <class T>
  void put_class(const T& value) {
    // The fields are read only; one list of them serves both ways.
    std::apply([&](const auto&... field) { (put(field), ...); }, fields_of(const_cast<T&>(value)));
  }
  template <class T>
  void put_class(const std::vector<T>& values) {
    if constexpr (kIsNumber<T>) {
      put_numbers(std::span<const T>(values));
    } else {
      put(values.size());
      for (const T& value : values) put(value);
    }
  }
  template <class T, std::size_t N>
  void put_class(const std::array<T, N>& values) {
    for (const T& value : values) put(value);
  }
  template <class A, class B>
  void put_class(const std::pair<A, B>& both) {
    put(both.first);
    put(both.second);
  }
  template <class T>
  void put_class(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class T>
  void put_class(const std::shared_ptr<const T>& value) {
    put(value != nullptr);
    if (value) put(*value);
  }
  template <class T>
  void put_class(const Outcome<T>& outcome) {
    put(outcome.ok());
    if (outcome)
      put(outcome.value());
    else
      put(outcome.rejection());
  }
  template <class T>
  void put_class(const SharedSpan<T>& values) {
    put_numbers(values.view);
  }
  void put_class(const std::string& text) { put_numbers(std::span<const char>(text)); }
  void put_class(const std::filesystem::path& path) { put(path.native()); }
  void put_class(const Rejection& r) {
    put(r.case_name);
    put(r.stage);
    put(r.code);
    put(r.detail);
  }

  BytesArena* shared_;
  std::string bytes_;
};

/// Throws Malformed wherever bytes are no such value.
class Reader {
 public:
  /// `shared` holds large numbers and is kept by `owner`; SharedSpan values borrow from it.
  explicit Reader(std::span<const char> bytes, std::span<const char> shared = {},
                  std::shared_ptr<const void> owner = nullptr)
      : bytes_(bytes), shared_(shared), owner_(std::move(owner)) {}

  template <class T>
  T get() {
    if constexpr (std::is_same_v<T, bool>) {
      return get<std::uint8_t>() != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      T value{};
      std::memcpy(&value, take(sizeof value), sizeof value);
      return value;
    } else if constexpr (std::is_enum_v<T>) {
      const auto value = get<std::uint32_t>();
      if (value > static_cast<std::uint32_t>(*kLast<T>)) throw Malformed();
      return static_cast<T>(value);
    } else {
      return get_class(static_cast<T*>(nullptr));
    }
  }
  /// Nothing may follow the last value.
  void finish() const {
    if (!bytes_.empty()) throw Malformed();
  }

 private:
  const char* take(std::size_t n) {
    if (n > bytes_.size()) throw Malformed();
    const char* at = bytes_.data();
    bytes_ = bytes_.subspan(n);
    return at;
  }
  /// The bytes of `count` numbers and whether they lie in shared memory.
  template <class T>
  std::pair<const char*, bool> numbers(std::size_t count) {
    const bool apart = get<bool>();
    if (!apart) {
      if (count > bytes_.size() / sizeof(T)) throw Malformed();
      return {take(count * sizeof(T)), false};
    }
    const auto at = get<std::uint64_t>();
    if (at > shared_.size() || count > (shared_.size() - at) / sizeof(T) || at % sizeof(T) != 0)
      throw Malformed();
    return {shared_.data() + at, true};
  }
  template <class T>
  T get_class(T*) {
    T value{};
    std::apply(
        [&](auto&... field) { ((field = get<std::remove_reference_t<decltype(field)>>()), ...); },
        fields_of(value));
    if constexpr (requires { is_possible(value); })
      if (!is_possible(value)) throw Malformed();
    return value;
  }
  template <class T>
  std::vector<T> get_class(std::vector<T>*) {
    const auto count = get<std::size_t>();
    std::vector<T> values;
    if constexpr (kIsNumber<T>) {
      const char* from = numbers<T>(count).first;
      values.resize(count);
      if (count > 0) std::memcpy(values.data(), from, count * sizeof(T));
    } else {
      constexpr std::size_t kFew = 1024;  // a count is a claim
      values.reserve(std::min(count, kFew));
      for (std::size_t i = 0; i < count; ++i) values.push_back(get<T>());
    }
    return values;
  }
  template <class T, std::size_t N>
  std::array<T, N> get_class(std::array<T, N>*) {
    std::array<T, N> values{};
    for (T& value : values) value = get<T>();
    return values;
  }
  template <class A, class B>
  std::pair<A, B> get_class(std::pair<A, B>*) {
    A first = get<A>();
    return {std::move(first), get<B>()};
  }
  template <class T>
  std::optional<T> get_class(std::optional<T>*) {
    return get<bool>() ? std::optional<T>(get<T>()) : std::nullopt;
  }
  template <class T>
  std::shared_ptr<const T> get_class(std::shared_ptr<const T>*) {
    return get<bool>() ? std::make_shared<const T>(get<T>()) : nullptr;
  }
  template <class T>
  Outcome<T> get_class(Outcome<T>*) {
    if (get<bool>()) return get<T>();
    return get<Rejection>();
  }
  template <class T>
  SharedSpan<T> get_class(SharedSpan<T>*) {
    const auto count = get<std::size_t>();
    const auto [from, apart] = numbers<T>(count);
    if (apart) return {{reinterpret_cast<const T*>(from), count}, owner_};
    const std::shared_ptr<T[]> copy(new T[count]);
    if (count > 0) std::memcpy(copy.get(), from, count * sizeof(T));
    return {{copy.get(), count}, copy};
  }
  std::string get_class(std::string*) {
    const auto count = get<std::size_t>();
    return {numbers<char>(count).first, count};
  }
  std::filesystem::path get_class(std::filesystem::path*) { return get<std::string>(); }
  Rejection get_class(Rejection*) {
    auto case_name = get<std::string>();
    auto stage = get<std::string>();
    const auto code = get<Code>();
    return {std::move(case_name), std::move(stage), code, get<std::string>()};
  }

  std::span<const char> bytes_, shared_;
  std::shared_ptr<const void> owner_;
};

}  // namespace wsp::wire
