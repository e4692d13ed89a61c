#include "io/medical/transfer_syntax.hpp"

#include <set>

namespace wsp::dicom {

bool is_supported_syntax(const std::string& uid) {
  static const std::set<std::string> kSupported{
      "1.2.840.10008.1.2",       "1.2.840.10008.1.2.1",     "1.2.840.10008.1.2.1.99",
      "1.2.840.10008.1.2.2",     "1.2.840.10008.1.2.5",     "1.2.840.10008.1.2.4.50",
      "1.2.840.10008.1.2.4.51",  "1.2.840.10008.1.2.4.53",  "1.2.840.10008.1.2.4.55",
      "1.2.840.10008.1.2.4.57",  "1.2.840.10008.1.2.4.70",  "1.2.840.10008.1.2.4.80",
      "1.2.840.10008.1.2.4.81",  "1.2.840.10008.1.2.4.90",  "1.2.840.10008.1.2.4.91",
      "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"};
  return kSupported.contains(uid);
}

bool is_video_syntax(const std::string& uid) {
  static const std::set<std::string> kVideo{
      "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101", "1.2.840.10008.1.2.4.102",
      "1.2.840.10008.1.2.4.103", "1.2.840.10008.1.2.4.104", "1.2.840.10008.1.2.4.105",
      "1.2.840.10008.1.2.4.106", "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"};
  return kVideo.contains(uid);
}

std::string named_syntax(const std::string& uid) {
  constexpr std::size_t kLongestUid = 64;
  const bool standard = uid.starts_with("1.2.840.10008.") && uid.size() <= kLongestUid &&
                        uid.find_first_not_of("0123456789.") == std::string::npos;
  return standard ? "transfer syntax " + uid : "a private transfer syntax";
}

bool is_lossy_syntax(const std::string& uid) {
  static const std::set<std::string> kLossy{"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
                                            "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55",
                                            "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91",
                                            "1.2.840.10008.1.2.4.203"};
  return kLossy.contains(uid);
}

bool is_compressed_syntax(const std::string& uid) {
  return uid != "1.2.840.10008.1.2" && uid != "1.2.840.10008.1.2.1" && uid != "1.2.840.10008.1.2.2";
}

bool is_jpeg2000_syntax(const std::string& uid) {
  static const std::set<std::string> kJpeg2000{"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
                                               "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202",
                                               "1.2.840.10008.1.2.4.203"};
  return kJpeg2000.contains(uid);
}

}  // namespace wsp::dicom
