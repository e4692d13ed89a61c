#include "preprocess/pipeline/plan_misfits.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "io/core/error.hpp"
#include "io/core/names.hpp"
#include "preprocess/pipeline/ledger.hpp"
#include "preprocess/pipeline/name_hints.hpp"
#include "preprocess/pipeline/subjects.hpp"

namespace wsp {
namespace {

using Names = std::map<std::string, std::vector<std::string>>;  // by the manifest's kind of key
using Rows = std::vector<std::pair<std::size_t, std::string>>;  // number and key

// What cases are called.
Names known_names(const Scan& scan) {
  Names names;
  const auto add = [&](const char* kind, const std::string& name) {
    if (!name.empty()) names[kind].push_back(name);
  };
  for (const Series& series : scan.series) {
    add("patient_id", series.patient_id);
    add("accession", series.accession);
    add("study_uid", series.study_uid);
    add("series_uid", series.series_uid);
    if (series.is_dicom) continue;
    add("path", path_stem(series));
    add("path", path_name(path_stem(series)).stem);
  }
  return names;
}

void hint_at_other_keys(const Rows& unmatched, const Names& known, const std::string& key,
                        std::vector<std::string>& hints) {
  for (const auto& [kind, names] : known) {
    const std::set<std::string> set(names.begin(), names.end());
    const auto hits = std::count_if(unmatched.begin(), unmatched.end(),
                                    [&](const auto& row) { return set.contains(row.second); });
    if (hits > 0 && kind != key)
      hints.push_back(std::to_string(hits) +
                      " rows would match a case if the manifest's key were " + kind);
  }
}

void hint_at_other_folders(const Rows& unmatched, const Names& known,
                           std::vector<std::string>& hints) {
  const auto paths = known.find("path");
  if (paths == known.end()) return;
  std::vector<std::size_t> elsewhere;
  for (const auto& [row, key] : unmatched) {
    const std::string stem = path_name(key).stem;
    if (stem != key && !key.ends_with('/') &&
        std::find(paths->second.begin(), paths->second.end(), stem) != paths->second.end())
      elsewhere.push_back(row);
  }
  if (!elsewhere.empty())
    hints.push_back((elsewhere.size() == 1 ? "row " : "rows ") + list_of_numbers(elsewhere) +
                    " would match a case if the folders were the same");
}

void tell_of_labels(const PlanInputs& in, const PlanFindings& found, const Names& known,
                    const std::vector<std::string>& all, IngestPlan& plan) {
  const Rows unmatched = in.labels->unmatched_keys();
  for (std::string& hint : near_matches(unmatched, all)) plan.hints.push_back(std::move(hint));
  hint_at_other_keys(unmatched, known, in.manifest.key, plan.hints);
  hint_at_other_folders(unmatched, known, plan.hints);
  if (in.manifest.key == "patient_id" && found.nameless > 0)
    plan.hints.push_back(std::to_string(found.nameless) +
                         " cases have no patient ID, so no row can name them by one; use the key "
                         "study_uid or series_uid in the manifest");
  const bool none = std::all_of(found.labels.begin(), found.labels.end(),
                                [](const auto& lookup) { return lookup.rows.empty(); });
  if (!plan.cases.empty() && none)
    plan.misfits.push_back("none of the " + std::to_string(in.labels->rows()) +
                           " rows of the label table fits a case of the export; the manifest's "
                           "key is " +
                           in.manifest.key + ", in the column '" + in.manifest.key_column + "'");
}

void tell_of_masks(const PlanInputs& in, const PlanFindings& found,
                   const std::vector<std::string>& all, IngestPlan& plan) {
  Rows unused;
  for (std::string& name : in.masks->unused_names())
    unused.emplace_back(unused.size(), std::move(name));
  for (std::string& hint : near_matches(unused, all, "mask files"))
    plan.hints.push_back(std::move(hint));
  if (const std::size_t n = in.masks->elsewhere(); n > 0)
    plan.hints.push_back(
        std::to_string(n) +
        " of the mask files have the name of a volume and lie in other folders "
        "than it; folders must agree: give --masks the folder in which the masks of this export "
        "lie, or say whose they are with --masks-table");
  if (plan.cases.empty()) return;
  if (const auto rows = in.masks->unknown_rows(); !rows.empty()) {
    std::vector<std::size_t> numbers;
    for (const std::size_t row : rows) numbers.push_back(row + 1);
    plan.misfits.push_back("the mask table names no series of the export in row" +
                           std::string(numbers.size() == 1 ? " " : "s ") +
                           list_of_numbers(numbers) + " (numbered without the header)");
  }
  const bool none = std::all_of(found.masks.begin(), found.masks.end(), [](const MaskMatch& match) {
    return match.files.empty() && match.problem.empty();
  });
  if (!none) return;
  std::map<std::string, std::size_t> codes;
  for (const FileEntry& file : in.masks->others()) ++codes[std::string(to_string(file.code))];
  for (const auto& [code, count] : unseen_files(codes))
    plan.hints.push_back("in --masks, " + code + " " + std::to_string(count) + ": " +
                         std::string(info(*parse_code(code)).remedy));
  plan.misfits.push_back(
      (in.masks->size() == 0 ? std::string("--masks holds no NIfTI or NRRD file")
                             : "none of the " + std::to_string(in.masks->size()) +
                                   " files of --masks fits a case of the export") +
      ": there would be no mask for any. Expected the series UID, the patient ID or the stem of a "
      "NIfTI volume as a file's name, or CASE/liver.nii.gz");
}

}  // namespace

void tell_what_fits_nothing(const PlanInputs& inputs, const PlanFindings& findings,
                            IngestPlan& plan) {
  const Names known = known_names(inputs.scan);
  std::vector<std::string> all;
  for (const auto& [kind, names] : known) all.insert(all.end(), names.begin(), names.end());
  if (inputs.labels != nullptr) tell_of_labels(inputs, findings, known, all, plan);
  if (inputs.masks != nullptr) tell_of_masks(inputs, findings, all, plan);
}

void refuse_misfits(const IngestPlan& plan) {
  if (plan.misfits.empty()) return;
  std::string text;
  for (const auto* lines : {&plan.misfits, &plan.hints})
    for (const std::string& line : *lines)
      text += (text.empty() ? "" : lines == &plan.hints ? "\n  hint: " : "\n") + line;
  throw Error(ErrorCode::no_input, text + "\nNo case was read");
}

}  // namespace wsp
