#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "preprocess/pipeline/case_work.hpp"
#include "preprocess/pipeline/ingest_summary.hpp"

namespace wsp {

using EarlierCases = std::map<std::string, CaseRecord>;  ///< of one shard, by name

/// The cases that an earlier run wrote into a shard: those of the first of the states that has it
/// whole, so that what an interrupted run wrote counts before what it was to replace. None where no
/// state has it; damage is logged.
EarlierCases load_earlier_cases(const std::vector<std::filesystem::path>& states, int shard);

/// Take a case over from an earlier run. Shard, JSON and preview are three files, and may lie in
/// different ones of the states: each must be
/// bound to the plan's key, the preview by the hash that the JSON states, or the case is made again
/// (as after a crash between them). `file_by_hash`: index into Scan::files by hashed path; a case
/// that names a file that is not there is made again too. Thread-safe for different cases.
std::optional<CaseProduct> take_over(const std::vector<std::filesystem::path>& states,
                                     EarlierCases& earlier, const CasePlan& plan,
                                     const std::map<std::string, std::size_t>& file_by_hash);

/// Which of `earlier` are not among `made`, and why, as far as the plan says.
std::vector<LostCase> lost_cases(const std::set<std::string>& earlier,
                                 const std::set<std::string>& made, const IngestPlan& plan);
/// "in this export no more: A, B; refused now: C (TRUNCATED_FILE)", long lists cut.
std::string to_text(const std::vector<LostCase>& lost);

}  // namespace wsp
