#include "io/medical/dicom_text.hpp"

#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcspchrs.h>

#include <array>
#include <cctype>
#include <charconv>
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

namespace {

/// The values of an element as text, under whatever type they were written; no empty ones at the
/// end.
std::vector<std::string> values_of(DcmElement& element) {
  const DcmEVR type = element.getVR();
  std::vector<std::string> values;
  char* raw = nullptr;
  OFString text;
  if (type == EVR_FD || type == EVR_FL) {
    for (unsigned long i = 0; i < element.getVM(); ++i) {
      Float64 wide = 0;
      Float32 narrow = 0;
      if (type == EVR_FL && element.getFloat32(narrow, i).good()) wide = narrow;
      if (type == EVR_FD) (void)element.getFloat64(wide, i);
      std::array<char, 32> number{};
      const auto end = std::to_chars(number.data(), number.data() + number.size(), wide).ptr;
      values.emplace_back(number.data(), end);
    }
  } else if (element.getString(raw).good()) {
    // DCMTK's own array of values takes time that grows with the square of their number.
    values = split_values(raw != nullptr ? raw : "");
  } else if (element.getOFStringArray(text).good()) {
    values = split_values({text.data(), text.size()});
  }
  while (!values.empty() && values.back().empty()) values.pop_back();
  return values;
}

}  // namespace

std::string ascii(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr) return {};
  std::string joined;
  bool first = true;
  for (const std::string& value : values_of(*element)) {
    joined.append(first ? "" : "\\").append(value);
    first = false;
  }
  return is_utf8(joined) ? joined : latin1_to_utf8(joined);
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

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  int last = 0;  // 0 separator, 1 letter, 2 digit
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const int now = byte >= 0x80 || std::isalpha(byte) != 0 ? 1 : std::isdigit(byte) != 0 ? 2 : 0;
    if (now != 0 && now != last) words.emplace_back();
    if (now != 0) words.back().push_back(c);
    last = now;
  }
  return words;
}

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  // from_chars also knows "inf" and "nan".
  if (text.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return std::nullopt;
  double value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

namespace {

bool holds_text_or_numbers(DcmEVR type) {
  switch (type) {
    case EVR_AE:
    case EVR_AS:
    case EVR_CS:
    case EVR_DA:
    case EVR_DS:
    case EVR_DT:
    case EVR_FD:
    case EVR_FL:
    case EVR_IS:
    case EVR_LO:
    case EVR_LT:
    case EVR_PN:
    case EVR_SH:
    case EVR_SL:
    case EVR_SQ:
    case EVR_SS:
    case EVR_ST:
    case EVR_TM:
    case EVR_UC:
    case EVR_UI:
    case EVR_UL:
    case EVR_UR:
    case EVR_US:
    case EVR_UT:
    case EVR_xs:
      return true;
    default:
      return false;
  }
}

std::vector<std::uint8_t> raw_bytes(DcmElement& element) {
  std::vector<std::uint8_t> bytes(element.getLength());
  if (!bytes.empty() &&
      element.getPartialValue(bytes.data(), 0, static_cast<Uint32>(bytes.size())).bad())
    return {};
  return bytes;
}

/// The element read again from its bytes, which `syntax` encodes; null where they do not parse.
DcmElement* reparse(const DcmTagKey& tag, const std::vector<std::uint8_t>& value,
                    E_TransferSyntax syntax) {
  std::vector<std::uint8_t> bytes;
  const auto put = [&](std::size_t number, int count) {
    for (int i = 0; i < count; ++i)
      bytes.push_back(static_cast<std::uint8_t>(number >> (8 * i) & 0xFF));
  };
  put(tag.getGroup(), 2);
  put(tag.getElement(), 2);
  if (syntax == EXS_LittleEndianExplicit) put('S' | 'Q' << 8, 4);
  put(value.size(), 4);
  bytes.insert(bytes.end(), value.begin(), value.end());
  DcmInputBufferStream stream;
  stream.setBuffer(bytes.data(), static_cast<offile_off_t>(bytes.size()));
  stream.setEos();
  // An item and no data set: a data set would guess its syntax by its first element.
  DcmItem parsed(DcmTag(DCM_Item), static_cast<Uint32>(bytes.size()));
  parsed.transferInit();
  const bool good = parsed.read(stream, syntax, EGL_noChange).good();
  parsed.transferEnd();
  return good && parsed.card() == 1 ? parsed.remove(tag) : nullptr;
}

struct Numbers {
  std::vector<double> values;
  std::string wrong;  ///< why the element is not the numbers that were expected
};

Numbers read_numbers(DcmItem& item, const DcmTagKey& tag, std::size_t count) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr) return {};
  const std::vector<std::string> texts = values_of(*element);
  if (texts.empty()) return {};
  const std::string name = DcmTag(tag).getTagName();
  Numbers numbers;
  for (const std::string& text : texts) {
    const auto value = parse_number(text);
    if (!value) {
      const bool comma = text.find(',') != std::string::npos;
      return {{}, name + " is no number" + (comma ? ": a decimal comma" : "")};
    }
    numbers.values.push_back(*value);
  }
  if (texts.size() != count)
    return {{},
            name + " has " + std::to_string(texts.size()) + " values, expected " +
                std::to_string(count)};
  return numbers;
}

}  // namespace

void retype(DcmItem& item) {
  std::vector<DcmElement*> elements;
  for (DcmObject* o = item.nextInContainer(nullptr); o != nullptr; o = item.nextInContainer(o))
    elements.push_back(static_cast<DcmElement*>(o));
  for (DcmElement* element : elements) {
    const DcmTagKey tag = element->getTag();
    const DcmEVR written = element->getTag().getEVR();
    const bool pixels = tag == DCM_PixelData;
    if (written == EVR_UN || (!pixels && (written == EVR_OB || written == EVR_OW))) {
      const DcmEVR known = DcmTag(tag).getEVR();
      if (!pixels && !holds_text_or_numbers(known)) continue;
      const std::vector<std::uint8_t> value = raw_bytes(*element);
      if (value.size() != element->getLength()) continue;
      DcmElement* typed = reparse(tag, value, EXS_LittleEndianImplicit);
      if (typed == nullptr && known == EVR_SQ)
        typed = reparse(tag, value, EXS_LittleEndianExplicit);
      if (typed == nullptr) continue;
      if (item.insert(typed, OFTrue).bad()) {
        delete typed;
        continue;
      }
      element = typed;
    } else if (tag.getGroup() == 0x0028 && written != EVR_US && DcmTag(tag).getEVR() == EVR_US) {
      // DCMTK asks for these itself when it decodes.
      if (const auto value = bits16(item, tag)) item.putAndInsertUint16(tag, *value);
      continue;
    }
    if (auto* sequence = dynamic_cast<DcmSequenceOfItems*>(element); sequence != nullptr)
      for (DcmObject* o = sequence->nextInContainer(nullptr); o != nullptr;
           o = sequence->nextInContainer(o))
        if (auto* inner = dynamic_cast<DcmItem*>(o); inner != nullptr) retype(*inner);
  }
}

std::vector<DcmItem*> items(DcmItem& parent, const DcmTagKey& tag) {
  std::vector<DcmItem*> found;
  DcmSequenceOfItems* sequence = nullptr;
  if (parent.findAndGetSequence(tag, sequence).bad() || sequence == nullptr) return found;
  // getItem() counts from the first each time, which is quadratic.
  for (DcmObject* o = sequence->nextInContainer(nullptr); o != nullptr;
       o = sequence->nextInContainer(o))
    if (auto* item = dynamic_cast<DcmItem*>(o); item != nullptr) found.push_back(item);
  return found;
}

std::optional<std::vector<double>> numbers(DcmItem& item, const DcmTagKey& tag, std::size_t count) {
  Numbers read = read_numbers(item, tag, count);
  if (read.values.empty()) return std::nullopt;
  return std::move(read.values);
}

std::optional<double> number(DcmItem& item, const DcmTagKey& tag) {
  const Numbers read = read_numbers(item, tag, 1);
  return read.values.empty() ? std::nullopt : std::optional(read.values.front());
}

std::string number_fault(DcmItem& item, const DcmTagKey& tag, std::size_t count) {
  return read_numbers(item, tag, count).wrong;
}

std::optional<std::uint16_t> bits16(DcmItem& item, const DcmTagKey& tag) {
  const auto value = number(item, tag);
  if (!value || *value != std::floor(*value) || *value < -32768 || *value > 65535)
    return std::nullopt;
  return static_cast<std::uint16_t>(static_cast<std::int32_t>(*value));
}

std::optional<double> seconds_of_day(std::string_view time) {
  const auto digits = [&] {
    std::size_t run = 0;
    while (run < time.size() && std::isdigit(static_cast<unsigned char>(time[run])) != 0) ++run;
    return run;
  };
  const auto take_pair = [&](int most) -> std::optional<int> {
    if (digits() < 2) return std::nullopt;
    const int value = 10 * (time[0] - '0') + (time[1] - '0');
    time.remove_prefix(2);
    return value <= most ? std::optional(value) : std::nullopt;
  };
  // A DT value starts with YYYYMMDD and may end with an offset from UTC.
  if (digits() > 8) {
    time.remove_prefix(8);
    time = time.substr(0, time.find_first_of("+-"));
  }
  const bool colons = time.size() > 2 && time[2] == ':';  // as ACR-NEMA wrote it
  std::array<int, 3> parts{};
  for (std::size_t k = 0; k < parts.size() && (k == 0 || !time.empty()); ++k) {
    if (k > 0 && colons && time.starts_with(':')) time.remove_prefix(1);
    const auto part = take_pair(k == 0 ? 23 : k == 1 ? 59 : 60);
    if (!part) return std::nullopt;
    parts[k] = *part;
  }
  double seconds = 3600.0 * parts[0] + 60.0 * parts[1] + parts[2];
  if (time.empty()) return seconds;
  if (time[0] != '.') return std::nullopt;
  const auto fraction = parse_number(time);
  return fraction ? std::optional(seconds + *fraction) : std::nullopt;
}

}  // namespace wsp::dicom
