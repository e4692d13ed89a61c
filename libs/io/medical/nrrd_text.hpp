#pragma once
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/core/outcome.hpp"

/// A NRRD header as text, by the format's definition (teem.sourceforge.net/nrrd/format.html).
/// Internal to io/medical.
namespace wsp::image {

/// The lines of a NRRD header.
struct NrrdText {
  std::map<std::string, std::string> fields;  ///< by name, in small letters and without spaces
  std::map<std::string, std::string> pairs;   ///< key:=value
  std::vector<std::string> list;              ///< the lines after `data file: LIST`
  bool twice = false;                         ///< a field that stands twice
  std::size_t length = 0;                     ///< of the header, in bytes

  /// The field's value; empty where it is absent.
  [[nodiscard]] std::string field(const std::string& name) const;
  /// The same in small letters, for words whose case does not matter.
  [[nodiscard]] std::string word(const std::string& name) const;
};
/// Read the header's lines, of at most 16 MiB. BAD_HEADER without NRRD's magic,
/// UNSUPPORTED_ENCODING where the whole file is packed by gzip.
Outcome<NrrdText> read_nrrd_text(const std::filesystem::path& path);

/// Without blanks at its ends.
[[nodiscard]] std::string trim(const std::string& text);
/// The words between blanks.
[[nodiscard]] std::vector<std::string> words(const std::string& text);
/// `(1,0,0) none (0,1,0)`: a vector per axis, empty where there is none. Nothing where it cannot be
/// read so.
[[nodiscard]] std::optional<std::vector<std::vector<double>>> vectors(const std::string& text);

/// A number that is the whole text.
template <class T>
[[nodiscard]] std::optional<T> number(const std::string& text) {
  const char* const begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* const end = text.data() + text.size();
  T value{};
  const auto [at, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace wsp::image
