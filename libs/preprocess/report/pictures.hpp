#pragma once
#include <cstdint>
#include <vector>

#include "preprocess/report/reduced.hpp"

namespace wsp::qa {

/// The pictures of one case, as PNG with a palette of 48 greys and two colours.
struct CasePictures {
  std::vector<std::uint8_t> strip;  ///< six kept slices from the first to the last, liver outlined
  std::vector<std::uint8_t> thumb;  ///< the middle one, for the contact sheet
};

/// Draw at the liver window of -60 to 220 HU, x to the patient's left, anterior up; first and last
/// kept slice have a yellow frame. Empty for a case without slices. Throws Error(failure) where
/// libpng does not encode.
CasePictures draw_case(const ReducedCase& reduced);

}  // namespace wsp::qa
