#pragma once
#include <vector>

#include "io/medical/series_keys.hpp"
#include "io/medical/series_parts.hpp"

/// Acquisitions by a counter that rises within each of them too. Internal to io/medical.
namespace wsp::dicom {

/// The passes along z that a number or a time counts through: it runs along z, then starts again.
/// Empty when it tells nothing: a single pass, passes one behind the other, or a value without
/// order.
std::vector<Part> passes_of(const Planes& planes, const Key& key);

/// How often the part changes from slice to slice along z.
std::size_t changes(const std::vector<Part>& parts);

}  // namespace wsp::dicom
