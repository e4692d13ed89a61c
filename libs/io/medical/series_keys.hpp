#pragma once
#include <functional>
#include <string>
#include <vector>

#include "io/medical/series_parts.hpp"

/// By what values of headers acquisitions are told apart. Internal to io/medical.
namespace wsp::dicom {

/// How far a header value tells acquisitions apart.
enum class Says {
  what,    ///< what was done: parts of different value are never one
  which,   ///< which acquisition it was: parts that continue each other may be one
  counts,  ///< the same, as a number that may rise from slice to slice
};

inline constexpr const char* kOrigin = "the planes' origin";
inline constexpr const char* kTime = "AcquisitionTime";

/// A header value, by its name; empty of a plane without it.
struct Key {
  const char* name;
  Says says;
  std::function<std::string(const PlaneRef&)> value;
};

/// All of them, the surer first. `first` is any plane of the series: origins are taken from its.
std::vector<Key> keys_of(const PlaneRef& first);

/// True of the key that is a time of day.
bool is_time(const Key& key);
/// True of the key whose blank is a value: no agent was given.
bool blank_is_value(const Key& key);

}  // namespace wsp::dicom
