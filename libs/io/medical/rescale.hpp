#pragma once
#include "io/medical/codec.hpp"
#include "io/medical/scan.hpp"

namespace wsp::dicom {

/// Write a frame as HU, [row][column] in the file's order, and measure what it holds: stored value
/// times slope plus intercept in float32, product and sum rounded, to the nearest whole number,
/// half to even, clamped to int16. Padding becomes -1024; the statistics take it as stored.
StoredStatistics rescale_frame(const DecodedFrame& frame, std::int16_t* hu);

}  // namespace wsp::dicom
