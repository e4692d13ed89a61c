#include "io/core/tensor_header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "io/core/error.hpp"

namespace wsp {
namespace {

using nlohmann::json;

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::size_t kMostDimensions = 64;

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(ErrorCode::corrupt, "no valid safetensors header: " + what);
}

/// Takes the header event by event. A document tree would hide duplicate names, and could be made
/// deep; here what is not expected at its place ends the parsing.
class HeaderParser final : public json::json_sax_t {
 public:
  TensorHeader take() {
    if (place_ != Place::done) corrupt("it ends early");
    return std::move(header_);
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) ||
          entry_.shape.size() == kMostDimensions)
        corrupt("absurd shape of '" + entry_.name + "'");
      entry_.shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (place_ == Place::offsets) {
      if (offsets_ >= 2) corrupt("more than two offsets of '" + entry_.name + "'");
      (offsets_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    return unexpected("a number");
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = value;
      return true;
    }
    if (place_ == Place::tensor && key_ == "dtype") {
      entry_.dtype = value;
      return true;
    }
    return unexpected("a string");
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::root;
      return true;
    }
    if (place_ != Place::root) return unexpected("an object");
    if (key_ == kMetadata) {
      place_ = Place::metadata;
    } else {
      place_ = Place::tensor;
      entry_ = {};
      entry_.name = key_;
      offsets_ = 0;
    }
    inner_names_.clear();
    return true;
  }

  bool key(string_t& value) override {
    auto& seen = place_ == Place::root ? names_ : inner_names_;
    if (!seen.insert(value).second) corrupt("the name '" + value + "' occurs twice");
    if (place_ == Place::tensor && value != "dtype" && value != "shape" && value != "data_offsets")
      corrupt("unknown field '" + value + "' of '" + entry_.name + "'");
    key_ = value;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::root) {
      place_ = Place::done;
      return true;
    }
    if (place_ == Place::tensor) {
      if (inner_names_.size() != 3 || offsets_ != 2)
        corrupt("'" + entry_.name + "' lacks its dtype, shape or data_offsets");
      header_.entries.push_back(std::move(entry_));
    }
    place_ = Place::root;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor) return unexpected("a list");
    if (key_ == "shape")
      place_ = Place::shape;
    else if (key_ == "data_offsets")
      place_ = Place::offsets;
    else
      return unexpected("a list");
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    corrupt("not JSON in UTF-8 at byte " + std::to_string(position));
  }

 private:
  enum class Place { start, root, metadata, tensor, shape, offsets, done };

  bool unexpected(const char* what) const {
    corrupt(std::string(what) + " where none belongs" +
            (key_.empty() ? std::string() : ", near '" + key_ + "'"));
  }

  TensorHeader header_;
  TensorEntry entry_;
  Place place_ = Place::start;
  std::string key_;
  std::set<std::string> names_, inner_names_;
  int offsets_ = 0;
};

/// Bytes of a tensor; nothing where they or the strides of an empty tensor leave 63 bits.
std::optional<std::uint64_t> bytes_of_shape(const TensorEntry& entry) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  std::uint64_t span = element_size(entry.dtype);
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    if (size == 0) empty = true;
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1));
    if (span > kMost / factor) return std::nullopt;
    span *= factor;
  }
  return empty ? 0 : span;
}

/// A damaged name must not make the hash disappear.
bool differs_by_one_bit(std::string_view a, std::string_view b) {
  int bits = a.size() == b.size() ? 0 : 8;
  for (std::size_t i = 0; i < a.size() && bits <= 1; ++i)
    bits += std::popcount(static_cast<unsigned char>(a[i] ^ b[i]));
  return bits == 1;
}

}  // namespace

std::uint64_t element_size(std::string_view dtype) {
  static const std::map<std::string_view, std::uint64_t> sizes = {
      {"F64", 8},  {"I64", 8}, {"F32", 4}, {"I32", 4}, {"F16", 2},
      {"BF16", 2}, {"I16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

TensorHeader parse_tensor_header(std::string_view text, std::uint64_t data_size) {
  if (text.empty() || text.front() != '{') corrupt("it does not begin with '{'");
  // The JSON parser takes a NUL for the end, whatever follows it.
  if (text.find('\0') != std::string_view::npos) corrupt("it holds a NUL");
  HeaderParser parser;
  json::sax_parse(text, &parser);
  TensorHeader header = parser.take();
  auto& entries = header.entries;
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t at = 0;
  for (const TensorEntry& entry : entries) {
    if (element_size(entry.dtype) == 0)
      corrupt("dtype '" + entry.dtype + "' of '" + entry.name + "' is not one that we read");
    const auto bytes = bytes_of_shape(entry);
    if (entry.end < entry.begin || !bytes || entry.end - entry.begin != *bytes)
      corrupt("offsets " + std::to_string(entry.begin) + " to " + std::to_string(entry.end) +
              " of '" + entry.name + "' do not fit its shape and dtype " + entry.dtype);
    if (entry.begin != at)
      corrupt("'" + entry.name + "' begins at byte " + std::to_string(entry.begin) +
              (entry.begin < at ? ", within another tensor" : ", after a gap"));
    at = entry.end;
  }
  if (at != data_size)
    corrupt("the tensors take " + std::to_string(at) + " bytes, but the file holds " +
            std::to_string(data_size) + ": it is cut off or has something appended");
  return header;
}

std::string write_tensor_header(const TensorHeader& header) {
  json root = json::object();
  if (!header.metadata.empty()) root[std::string(kMetadata)] = header.metadata;
  for (const TensorEntry& entry : header.entries) {
    if (entry.name == kMetadata)
      throw Error(ErrorCode::usage, "no tensor can be called " + entry.name);
    root[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text;
  try {
    text = root.dump();  // strict: a name that is changed would be another tensor
  } catch (const json::exception&) {
    throw Error(ErrorCode::usage, "the name of a tensor or its metadata is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

std::size_t hash_position(std::string_view text, std::string_view digits) {
  // A quote within a JSON string has a backslash before it, so this can only be the key itself.
  const std::string before = '"' + std::string(kHashKey) + R"(":")";
  const std::size_t at = text.find(before);
  if (at == std::string_view::npos || text.find(before, at + 1) != std::string_view::npos)
    corrupt(std::string(kHashKey) + " is not where it was written");
  const std::size_t value = at + before.size();
  if (digits.size() != kHashDigits || text.substr(value, kHashDigits) != digits)
    corrupt(std::string(kHashKey) + " is not a SHA-256");
  return value;
}

std::optional<StoredHash> take_hash(TensorHeader& header, std::string_view text) {
  const auto found = header.metadata.find(std::string(kHashKey));
  if (found == header.metadata.end()) {
    for (const auto& [key, value] : header.metadata)
      if (differs_by_one_bit(key, kHashKey))
        throw Error(ErrorCode::corrupt, "the name of its hash is damaged");
    return std::nullopt;
  }
  const StoredHash stored{hash_position(text, found->second), found->second};
  header.metadata.erase(found);
  return stored;
}

}  // namespace wsp
