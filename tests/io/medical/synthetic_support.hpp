#pragma once
#include "dicom_writer.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

/// Slices with known truth.
namespace wsp::test {

inline Scan scan_all(const TemporaryDirectory& directory) {
  ScanOptions options;
  options.min_slices = 1;
  return scan_export(directory.path(), options);
}

inline DicomSlice slice_at(double z, int value) {
  DicomSlice s;
  s.position = {0, 0, z};
  s.pixels = constant_pixels(s, value);
  s.sop_uid = "1.2.3." + std::to_string(static_cast<int>(z * 10) + 1000) + "." +
              std::to_string(value + 5000);
  return s;
}

}  // namespace wsp::test
