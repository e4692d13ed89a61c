#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/shard/dataset.hpp"

namespace wsp::train {

/// The cases that the ingest of a dataset left out as rated (wsp-ingest --exclude-cases).
std::set<std::string> cases_left_out_before(const std::filesystem::path& dataset);

/// The cases of a dataset that ratings of wsp-qa's page exclude, sorted; none for an empty path.
/// Throws Error(usage) as cases_to_leave_out() does.
std::vector<std::string> cases_rated_exclude(const std::filesystem::path& ratings,
                                             const std::filesystem::path& dataset,
                                             const DatasetReader& reader,
                                             std::string_view option = "--exclude");

}  // namespace wsp::train
