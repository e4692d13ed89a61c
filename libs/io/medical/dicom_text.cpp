#include "io/medical/dicom_text.hpp"

#include <dcmtk/dcmdata/dcspchrs.h>

#include <cctype>
#include <cmath>

namespace wsp::dicom {

std::string trim(std::string_view text) {
  const std::string_view blank(" \t\r\n\0", 5);
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(blank) - first + 1));
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values;
  if (text.empty()) return values;
  for (;;) {
    const auto end = text.find('\\');
    values.push_back(trim(text.substr(0, end)));
    if (end == std::string_view::npos) return values;
    text.remove_prefix(end + 1);
  }
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0x7FU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0U) != 0x80U) return false;
      point = (point << 6U) | (next & 0x3FU);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || (point >= 0xD800 && point < 0xE000) || point > 0x10FFFF) return false;
    i += length;
  }
  return true;
}

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xC0U | (byte >> 6U)));
      out.push_back(static_cast<char>(0x80U | (byte & 0x3FU)));
    }
  }
  return out;
}

std::string ascii(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  if (item.findAndGetOFStringArray(tag, value).bad()) return {};
  const std::string trimmed = trim({value.data(), value.size()});
  return is_utf8(trimmed) ? trimmed : latin1_to_utf8(trimmed);
}

std::string text(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  if (item.findAndGetOFStringArray(tag, value).bad()) return {};
  const std::string raw = trim({value.data(), value.size()});
  bool plain = true;
  for (const char c : raw) plain = plain && static_cast<unsigned char>(c) < 0x80 && c != '\033';
  if (plain) return raw;
  OFString charset;
  if (item.findAndGetOFStringArray(DCM_SpecificCharacterSet, charset).good() && !charset.empty()) {
    DcmSpecificCharacterSet converter;
    OFString converted;
    if (converter.selectCharacterSet(charset).good() &&
        converter.convertString(value, converted, "\\^=").good()) {
      const std::string result = trim({converted.data(), converted.size()});
      if (is_utf8(result)) return result;
    }
  }
  return is_utf8(raw) ? raw : latin1_to_utf8(raw);
}

std::optional<double> number(DcmItem& item, const DcmTagKey& tag) {
  Float64 value = 0;
  if (item.findAndGetFloat64(tag, value).good() && std::isfinite(value)) return value;
  // Binary types and IS are not read by findAndGetFloat64.
  Sint32 integer = 0;
  if (item.findAndGetSint32(tag, integer).good()) return static_cast<double>(integer);
  Uint16 small = 0;
  if (item.findAndGetUint16(tag, small).good()) return static_cast<double>(small);
  Uint32 large = 0;
  if (item.findAndGetUint32(tag, large).good()) return static_cast<double>(large);
  return std::nullopt;
}

std::optional<std::vector<double>> numbers(DcmItem& item, const DcmTagKey& tag, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    Float64 value = 0;
    if (item.findAndGetFloat64(tag, value, static_cast<unsigned long>(i)).bad())
      return std::nullopt;
    if (!std::isfinite(value)) return std::nullopt;
    values[i] = value;
  }
  return values;
}

std::optional<std::uint16_t> bits16(DcmItem& item, const DcmTagKey& tag) {
  Uint16 value = 0;
  if (item.findAndGetUint16(tag, value).good()) return value;
  Sint16 negative = 0;
  if (item.findAndGetSint16(tag, negative).good()) return static_cast<std::uint16_t>(negative);
  return std::nullopt;
}

std::optional<double> seconds_of_day(std::string_view time) {
  const auto digit = [&](std::size_t i) {
    return i < time.size() && std::isdigit(static_cast<unsigned char>(time[i])) ? time[i] - '0'
                                                                                : -1;
  };
  const auto pair = [&](std::size_t i) {
    return digit(i) < 0 || digit(i + 1) < 0 ? -1 : 10 * digit(i) + digit(i + 1);
  };
  // A DT value starts with YYYYMMDD.
  std::size_t run = 0;
  while (digit(run) >= 0) ++run;
  if (run >= 12) time.remove_prefix(8);
  const int hours = pair(0);
  const int minutes = pair(2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
  double seconds = pair(4) < 0 ? 0 : pair(4);
  if (time.size() > 7 && time[6] == '.') {
    double scale = 0.1;
    for (std::size_t i = 7; digit(i) >= 0; ++i, scale /= 10) seconds += scale * digit(i);
  }
  return 3600.0 * hours + 60.0 * minutes + seconds;
}

}  // namespace wsp::dicom
