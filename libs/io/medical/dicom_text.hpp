#pragma once
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Strings and numbers out of a DCMTK item. Internal to io/medical; never throws on bad values.
namespace wsp::dicom {

/// Remove leading and trailing spaces and NULs.
std::string trim(std::string_view text);
/// Upper-case ASCII letters.
std::string upper(std::string_view text);
/// Split at backslashes, each value trimmed.
std::vector<std::string> split_values(std::string_view text);
/// True when the bytes are well-formed UTF-8.
bool is_utf8(std::string_view text);
/// Read bytes as ISO 8859-1 and write them as UTF-8.
std::string latin1_to_utf8(std::string_view text);

/// Words of a text: runs of letters or of digits; bytes above 127 (UTF-8) count as letters.
std::vector<std::string> words_of(std::string_view text);

/// A decimal number as PS3.5 writes one (DS, IS: sign, digits, point, exponent), parsed whole:
/// nothing for "2,75" or "12mm".
std::optional<double> parse_number(std::string_view text);

/// Give every element of the item, and of the sequences in it, the type that the data dictionary
/// knows for it where it was written as UN, OB or OW (PS3.5 6.2.2: a value of UN is encoded in
/// implicit VR little endian, sequences included). What does not parse so stays as it is.
void retype(DcmItem& item);

/// The items of a sequence in their order, in linear time; none where it is absent.
std::vector<DcmItem*> items(DcmItem& parent, const DcmTagKey& tag);
/// All values of an element joined by backslashes, trimmed; empty when absent.
std::string ascii(DcmItem& item, const DcmTagKey& tag);
/// A text element converted to UTF-8 by (0008,0005); what cannot be converted is read as Latin-1.
std::string text(DcmItem& item, const DcmTagKey& tag);
/// Exactly `count` finite numbers, under whatever type they were written, or nothing.
std::optional<std::vector<double>> numbers(DcmItem& item, const DcmTagKey& tag, std::size_t count);
/// The one number of an element, or nothing.
std::optional<double> number(DcmItem& item, const DcmTagKey& tag);
/// Why an element that holds something is not `count` numbers, by the element's name; empty where
/// it is, or is absent or empty.
std::string number_fault(DcmItem& item, const DcmTagKey& tag, std::size_t count = 1);
/// A whole number of 16 bits, under whatever type it was written, as its unsigned bits.
std::optional<std::uint16_t> bits16(DcmItem& item, const DcmTagKey& tag);
/// Seconds of the day of a TM value, or of the time part of a DT value; nothing where the value is
/// no whole time.
std::optional<double> seconds_of_day(std::string_view time);

}  // namespace wsp::dicom
