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

/// All values of an element joined by backslashes, trimmed; empty when absent. For ASCII value
/// types.
std::string ascii(DcmItem& item, const DcmTagKey& tag);
/// A text element converted to UTF-8 by (0008,0005); what cannot be converted is read as Latin-1.
std::string text(DcmItem& item, const DcmTagKey& tag);
/// Exactly `count` finite numbers, or nothing.
std::optional<std::vector<double>> numbers(DcmItem& item, const DcmTagKey& tag, std::size_t count);
/// The first number of an element, or nothing.
std::optional<double> number(DcmItem& item, const DcmTagKey& tag);
/// A 16-bit element whichever of US and SS it was written as, as its unsigned bits.
std::optional<std::uint16_t> bits16(DcmItem& item, const DcmTagKey& tag);
/// Seconds of the day of a TM value, or of the time part of a DT value.
std::optional<double> seconds_of_day(std::string_view time);

}  // namespace wsp::dicom
