#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace wsp {

using Digest = std::array<std::uint8_t, 32>;

/// Lower-case hexadecimal.
std::string hex(std::span<const std::uint8_t> bytes);

/// A running SHA-256 (OpenSSL). Not thread-safe; one per thread.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::span<const std::uint8_t> bytes);
  void update(std::string_view text);
  /// Finish; the object must not be updated afterwards.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::span<const std::uint8_t> bytes);
Digest sha256(std::string_view text);
/// SHA-256 of a file's bytes; throws Error(failure) when it cannot be read.
Digest sha256_file(const std::filesystem::path& path);
Digest hmac_sha256(std::span<const std::uint8_t> key, std::string_view message);

/// XXH3 with 64 bits.
std::uint64_t xxh3_64(std::span<const std::uint8_t> bytes, std::uint64_t seed = 0);

/// View any trivially copyable buffer as bytes.
template <class T>
std::span<const std::uint8_t> bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

}  // namespace wsp
