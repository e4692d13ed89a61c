#pragma once
#include <string>

/// What is known of transfer syntaxes, by their UIDs (PS3.6 A). Internal to io/medical.
namespace wsp::dicom {

/// True for transfer syntaxes with a decoder here.
bool is_supported_syntax(const std::string& uid);
/// True for MPEG and HEVC: no still images.
bool is_video_syntax(const std::string& uid);
/// "transfer syntax UID" where the standard knows such a UID, else words: any text may stand there.
std::string named_syntax(const std::string& uid);
/// True for transfer syntaxes that lose information.
bool is_lossy_syntax(const std::string& uid);
/// True where pixels must be unpacked or decoded: all but the three native syntaxes.
bool is_compressed_syntax(const std::string& uid);
/// True for JPEG 2000 and high-throughput JPEG 2000.
bool is_jpeg2000_syntax(const std::string& uid);

}  // namespace wsp::dicom
