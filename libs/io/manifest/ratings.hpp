#pragma once
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace wsp {

/// A reader's word on each case, by case name: "good", "usable" or "exclude".
using Ratings = std::map<std::string, std::string>;

/// Read ratings as the QA page saves them: a table with the columns case and rating; others, as a
/// reader's notes, are left alone. `option` stands in messages. Throws Error(usage) for a file that
/// is absent or no such table, another word than the three, a row without a case, and a case with
/// two different ratings.
Ratings load_ratings(const std::filesystem::path& tsv, std::string_view option);

/// The cases rated "exclude".
std::set<std::string> excluded_cases(const Ratings& ratings);

/// Throw Error(usage), naming them, where cases are rated that are not among `known`: the file is
/// another dataset's, and which cases it would leave out here nobody knows.
void refuse_unknown_cases(const Ratings& ratings, const std::set<std::string>& known,
                          std::string_view option);

/// The cases among `here` that a ratings file excludes, sorted. The file is judged as a whole: what
/// it says of cases that are not here may be meant for others. Those of `gone`, left out before,
/// are no strangers. Throws Error(usage) as load_ratings() and refuse_unknown_cases() do.
std::vector<std::string> cases_to_leave_out(const std::filesystem::path& tsv,
                                            const std::set<std::string>& here,
                                            const std::set<std::string>& gone,
                                            std::string_view option);

/// "A, B, C" of names, or "A, B, C and 7 more".
std::string list_of_names(const std::set<std::string>& names);

}  // namespace wsp
