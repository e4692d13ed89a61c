#pragma once
#include <filesystem>
#include <set>
#include <string>

namespace wsp::qa {

/// Refuse a directory that a report must not be written into, before anything is read: a dataset or
/// what lies inside one (but for its qa/), with `force` too; and without `force` a directory that
/// holds anything but an earlier report. Throws Error(usage).
void check_place(const std::filesystem::path& qa, bool force);
/// Make the directories of a report, and mark them as ours, so that a run that is cut off is known
/// by the next. Throws Error(output).
void make_place(const std::filesystem::path& qa);
/// Remove the files of cases that an earlier report here had and `names` has not; nothing else.
void remove_strangers(const std::filesystem::path& qa, const std::set<std::string>& names);

}  // namespace wsp::qa
