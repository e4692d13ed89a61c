#pragma once
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "io/medical/masks.hpp"

namespace wsp::test {

/// Run tests/SCRIPT with WSP_PYTHON; false when it fails or a module that it needs is absent.
inline bool run_python(const std::string& script_and_arguments) {
  const char* python = std::getenv("WSP_PYTHON");
  const std::string command = (python != nullptr ? python : "/usr/bin/python3") + std::string(" ") +
                              WSP_SOURCE_DIR "/tests/" + script_and_arguments;
  return std::system(command.c_str()) == 0;  // NOLINT: fixed command of a test
}

/// Read the one usable series of a directory; NIfTI and NRRD files count unless `dicom_only`.
inline LoadedVolume load_only_series(const std::filesystem::path& root, bool dicom_only = false) {
  initialise_medical_io();
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan = scan_export(root, options);
  const Series* found = nullptr;
  for (const Series& s : scan.series)
    if (s.code == Code::USED && (s.is_dicom || !dicom_only)) {
      if (found != nullptr) throw std::runtime_error("several usable series");
      found = &s;
    }
  if (found == nullptr) throw std::runtime_error("no usable series");
  auto loaded = read_series(scan, *found, {});
  if (!loaded)
    throw std::runtime_error(std::string(to_string(loaded.rejection().code)) +
                             loaded.rejection().detail);
  return std::move(loaded).value();
}

inline MaskOptions named(const std::string& name) {
  MaskOptions options;
  options.liver_roi = {name};
  return options;
}

inline int total(const LiverMask& mask) {
  return std::accumulate(mask.voxels.begin(), mask.voxels.end(), 0);
}

/// Voxels set in each slice.
inline std::vector<int> counts(const LiverMask& mask) {
  std::vector<int> n;
  for (std::int64_t z = 0; z < mask.geometry.size[2]; ++z) {
    int sum = 0;
    for (const auto v : mask.slice(z)) sum += v;
    n.push_back(sum);
  }
  return n;
}

inline std::string code_of(const Outcome<LiverMask>& mask) {
  return mask ? "USED" : std::string(to_string(mask.rejection().code));
}

}  // namespace wsp::test
