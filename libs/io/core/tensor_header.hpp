#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The header of a safetensors file, without Torch; not for users of the library.
namespace wsp {

/// Where the file's own SHA-256 stands in the metadata.
inline constexpr std::string_view kHashKey = "wsp.sha256";
/// How many hexadecimal digits it has.
inline constexpr std::size_t kHashDigits = 64;
/// What the format's own reader allows for the header.
inline constexpr std::uint64_t kLargestHeader = 100'000'000;

/// One tensor as the header describes it; begin and end are bytes into the data.
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;
};

struct TensorHeader {
  std::vector<TensorEntry> entries;  ///< by begin: they tile [0, data size) in this order
  std::map<std::string, std::string> metadata;
};

/// Bytes of one element, 0 for a dtype that we do not know.
std::uint64_t element_size(std::string_view dtype);

/// Parse and check a header against the size of the data that follows it. Throws Error(corrupt).
TensorHeader parse_tensor_header(std::string_view json, std::uint64_t data_size);

/// The header's text, padded with spaces so that the data after it and the 8 bytes of its length is
/// aligned to 8. Throws Error(usage) for a name that is no UTF-8 or is "__metadata__".
std::string write_tensor_header(const TensorHeader& header);

/// Position of the 64 hexadecimal digits of the hash in a header whose metadata has `digits` there.
/// Throws Error(corrupt) unless they stand there exactly once in the way in which we write them.
std::size_t hash_position(std::string_view json, std::string_view digits);

/// The hash that a header states of its file: hexadecimal digits, and where they stand in the text.
struct StoredHash {
  std::size_t position = 0;
  std::string digits;
};
/// Take the hash out of the metadata of a header that was parsed from `json`; nothing where the
/// file has none. Throws Error(corrupt) where its name or its place is damaged.
std::optional<StoredHash> take_hash(TensorHeader& header, std::string_view json);

}  // namespace wsp
