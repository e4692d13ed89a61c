#pragma once
#include <functional>
#include <vector>

#include "io/medical/series_parts.hpp"
#include "io/medical/study.hpp"

/// Which planes of one series belong to one acquisition. Internal to io/medical.
namespace wsp::dicom {

/// Planes of one acquisition, and what told them from the others.
struct Acquisition {
  Planes planes;
  std::vector<SplitReason> reasons;
};

/// Part the planes of one series (one geometry, duplicates dropped) into acquisitions:
/// - Where z ranges overlap, by whatever header value tells the parts apart. A value that nearly
///   every slice has for itself (anonymisers, step-and-shoot scanners) tells nothing, unless it
///   counts: numbers and times that run along z, then start again, are passes.
/// - Where ranges follow one another, only when what was done differs (phase, contrast, kernel,
///   kVp, series description, frame of reference), or when more than one slice is missing between
///   the parts. Else the blocks continue each other and stay one.
/// - Slices that a scanner took in two sweeps, odd ones first, have overlapping ranges and counters
///   of their own. They stay one when the thickness says that neither half is whole, and
///   `alternate` finds that the pixels of neighbours do not.
/// Parts come in a fixed order; one part without reasons when nothing is to be told apart.
std::vector<Acquisition> split_acquisitions(const Planes& planes,
                                            const std::function<bool(const Planes&)>& alternate);

/// Part planes by person: sex, birth date, issuer, and the name where ID or birth date is blank.
/// What is blank contradicts nothing.
std::vector<Acquisition> split_persons(const Planes& planes);

}  // namespace wsp::dicom
