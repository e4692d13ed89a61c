#pragma once
#include <numeric>

#include "io/medical/image_file.hpp"
#include "mask_writer.hpp"

/// What the tests of RTSTRUCT share.
namespace wsp::test {

inline MaskOptions named(const std::string& name) {
  MaskOptions options;
  options.liver_roi = {name};
  return options;
}

inline int total(const LiverMask& mask) {
  return std::accumulate(mask.voxels.begin(), mask.voxels.end(), 0);
}

}  // namespace wsp::test
