#pragma once
#include <cstdint>
#include <numbers>

#include "preprocess/phantom/rich_anatomy.hpp"

/// What the parts of the rich phantom share. Internal to the phantom.
namespace wsp::phantom {

constexpr double kPi = std::numbers::pi;
constexpr double kSkinMm = 2, kDiaphragmMm = 3;
constexpr int kContents = 16;
// Codes of a tissue above the organ's number: 0 solid, or the wall of something hollow.
constexpr int kFill = 64, kFirstContent = 1, kFirstLesion = 17, kGas = 21, kMarrow = 22;

/// 0 to 1 with level ends.
double smoothstep(double t);
/// Smooth noise in [-1, 1] with cells of `cell` mm: trilinear between hashed lattice values.
double value_noise(const Vec3& p, double cell, std::uint64_t key);
/// An organ's code with what fills it.
inline std::uint16_t tissue(Organ organ, int fill = 0) {
  return static_cast<std::uint16_t>(static_cast<int>(organ) + kFill * fill);
}

}  // namespace wsp::phantom
