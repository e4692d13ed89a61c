#pragma once
#include <string>

/// What kind of image the words of a header name. Internal to io/medical.
namespace wsp::dicom {

/// True for ImageType values that name a reformation, projection, map or other derived image.
bool is_derived_type(const std::string& image_type);
/// The map that ImageType or a series description (upper case) names, whose values are no HU of
/// what was scanned: "electron density map", "virtual non-contrast image", ...; empty where they
/// name none.
std::string derived_map(const std::string& image_type, const std::string& description);
/// True where they name a virtual monoenergetic image: HU of one photon energy.
bool is_monoenergetic(const std::string& image_type, const std::string& description);
/// True for ImageType values of a scout.
bool is_localizer_type(const std::string& image_type);

}  // namespace wsp::dicom
