#pragma once
#include <cstddef>
#include <vector>

#include "io/medical/study.hpp"

namespace wsp {

/// Which series the SEG and RTSTRUCT objects of a scan belong to.
struct MaskPlaces {
  /// Indices into Scan::masks, ascending, one list per Scan::series.
  std::vector<std::vector<std::size_t>> of_series;
  /// Objects that fit several series and are proven to belong to none; indices into Scan::masks.
  std::vector<std::size_t> ambiguous;
};

/// Place masks by what they refer to: the series that hold the SOP instances of their frames or
/// contours, or that they name.
/// - A series that was split shares its UID: its parts are told apart by instance, else by the
///   planes on which all of the object lies; only a single one is proven.
/// - An object that refers to nothing belongs to the only series of its patient, study and frame of
///   reference on whose grid all of it lies (each SEG frame corner to corner). Phases share a frame
///   of reference, so several may fit.
MaskPlaces place_masks(const Scan& scan);

}  // namespace wsp
