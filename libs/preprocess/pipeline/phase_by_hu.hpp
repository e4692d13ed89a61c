#pragma once
#include <string_view>

#include "io/core/volume.hpp"
#include "preprocess/ops/runs.hpp"

namespace wsp {

/// What the HU inside the liver say of the contrast phase.
enum class HuPhase {
  portal,      ///< enhanced parenchyma, and vessels well above it
  unenhanced,  ///< neither parenchyma nor vessels are enhanced (native, or early arterial)
  unclear      ///< anything between: delayed, late arterial, a fatty liver, too noisy or too small
};
std::string_view to_string(HuPhase phase);

/// HU of the liver, and the verdict drawn from them.
struct PhaseByHu {
  double liver_mean_hu = 0;    ///< of all mask voxels
  double liver_median_hu = 0;  ///< of the means below: the parenchyma
  double vessel_hu = 0;        ///< their 99.5th percentile: hepatic and portal branches
  double noise_hu = 0;         ///< median less the 16th percentile: one standard deviation
  HuPhase phase = HuPhase::unclear;
};

/// Judge the phase by the liver's parenchyma and its own vessels, which need no segmentation: they
/// are its bright tail. HU are averaged over squares of some 5 mm that lie wholly in the mask,
/// which subdues noise and keeps neighbours (kidney, ribs) out. *Portal*: median >= 80 HU and
/// vessels at least max(35 HU, 3.5 noise) above it; at 3-5 minutes vessels have come within some 30
/// HU of the parenchyma. *Unenhanced*: median < 80 HU and vessels < 110 HU. Deterministic.
PhaseByHu phase_by_hu(const Volume& volume, const MaskRuns& mask);

}  // namespace wsp
