#include "preprocess/pipeline/plan.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "io/core/names.hpp"
#include "io/medical/image_file.hpp"
#include "preprocess/pipeline/mask_place.hpp"
#include "preprocess/pipeline/plan_misfits.hpp"
#include "preprocess/pipeline/subjects.hpp"

namespace wsp {
namespace {

constexpr double kMaskPoints = 30;  // a series without any mask source would only be quarantined

class Planner {
 public:
  explicit Planner(const PlanInputs& inputs) : in_(inputs) {}

  IngestPlan run() {
    plan_.files.resize(in_.scan.files.size());
    for (std::size_t i = 0; i < plan_.files.size(); ++i)
      plan_.files[i] = {in_.scan.files[i].code, "", in_.scan.files[i].detail};
    subjects_ = tell_subjects_apart(in_.scan, in_.manifest);
    find_masks();
    gather_studies();
    find_labels();
    for (std::size_t s = 0; s < in_.scan.series.size(); ++s)
      plan_.series.push_back({score(s), false, pinned(in_.scan.series[s]), subjects_.of[s].text,
                              in_.naming.case_name(case_identity(in_.scan.series[s]))});
    for (const auto& [study, members] : studies_) choose(members);
    std::sort(plan_.cases.begin(), plan_.cases.end(), [&](const CasePlan& a, const CasePlan& b) {
      return std::pair(shard_of(a.name, in_.config.shards), a.name) <
             std::pair(shard_of(b.name, in_.config.shards), b.name);
    });
    drop_duplicate_names();
    count_pins();
    tell_what_fits_nothing(in_, {labels_, masks_, nameless_}, plan_);
    return std::move(plan_);
  }

 private:
  // Mask files of --masks may lie inside the export; they are no volumes then.
  void find_masks() {
    const std::size_t n = in_.scan.series.size();
    masks_.resize(n);
    if (in_.masks != nullptr) masks_ = in_.masks->match(in_.scan);
    const auto canonical = [](const auto& path) { return std::filesystem::weakly_canonical(path); };
    std::map<std::filesystem::path, std::set<std::string>> serves;  // file -> subjects
    for (std::size_t s = 0; s < n; ++s)
      for (const auto& path : masks_[s].files) serves[canonical(path)].insert(subjects_.of[s].text);
    std::set<std::filesystem::path> unclear;  // masks too, though it is not known whose
    if (in_.masks != nullptr)
      for (const std::string& name : in_.masks->ambiguous())
        unclear.insert(canonical(in_.masks->root() / name));
    is_mask_.resize(n, false);
    for (std::size_t s = 0; s < n; ++s) {
      // The last word, whatever named the file.
      if (!masks_[s].files.empty() && serves[canonical(masks_[s].files.front())].size() > 1)
        masks_[s] = {{}, "one mask file is given to cases of several subjects"};
      if (in_.scan.series[s].is_dicom) continue;
      const auto own = canonical(in_.scan.root / in_.scan.series[s].relative_path);
      is_mask_[s] = serves.contains(own) || unclear.contains(own);
    }
    const MaskPlaces places = place_masks(in_.scan);
    if (in_.config.ignore_mask_objects)
      mask_objects_.resize(n);
    else
      mask_objects_ = places.of_series;
    for (const MaskObject& mask : in_.scan.masks)
      if (plan_.files[mask.file].code == Code::USED)
        plan_.files[mask.file].code = Code::MASK_UNREFERENCED;
    for (const std::size_t m : places.ambiguous)
      if (!in_.config.ignore_mask_objects)
        plan_.files[in_.scan.masks[m].file] = {Code::MASK_AMBIGUOUS, "",
                                               "it is not proven which series it belongs to"};
  }

  void gather_studies() {
    for (std::size_t s = 0; s < in_.scan.series.size(); ++s) {
      const Series& series = in_.scan.series[s];
      if (is_mask_[s]) {
        set_files(s, Code::USED_AS_MASK, "", "");
        continue;
      }
      studies_[subjects_.of[s].text + '\n' + (series.is_dicom ? series.study_uid : series.key)]
          .push_back(s);
    }
  }

  // Of every volume at once, read or not: a row must fit one subject among all of them.
  void find_labels() {
    if (in_.labels == nullptr) return;
    const auto& files = in_.scan.files;
    std::vector<bool> in_series(files.size(), false);
    for (std::size_t s = 0; s < in_.scan.series.size(); ++s) {
      const Series& series = in_.scan.series[s];
      for (const Plane& plane : series.planes) in_series.at(plane.file) = true;
      CaseKeys keys;
      if (!is_mask_[s] && series.code != Code::LABEL_MAP)
        keys = {is_placeholder_id(series.patient_id) ? "" : series.patient_id,
                is_placeholder_id(series.accession) ? "" : series.accession,
                series.study_uid,
                series.series_uid,
                series.relative_path,
                path_stem(series),
                subjects_.of[s].text};
      case_keys_.push_back(std::move(keys));
    }
    std::vector<CaseKeys> all = case_keys_;
    for (std::size_t f = 0; f < files.size(); ++f)
      if (!in_series[f] && info(files[f].code).kind == CodeKind::rejected &&
          is_image_file_name(files[f].relative_path)) {
        Series unreadable;
        unreadable.is_dicom = false;
        unreadable.relative_path = files[f].relative_path;
        CaseKeys keys;
        keys.relative_path = unreadable.relative_path;
        keys.path_stem = path_stem(unreadable);
        all.push_back(std::move(keys));
      }
    labels_ = in_.labels->match(all);
  }

  void set_files(std::size_t s, Code code, const std::string& name, const std::string& detail) {
    for (const std::size_t f : source_files(in_.scan.series[s])) {
      Disposition& file = plan_.files[f];
      if (file.code == Code::USED && !file.case_name.empty()) continue;  // another series uses it
      file = {code, name, detail};
    }
  }

  [[nodiscard]] bool has_mask(std::size_t s) const {
    return !masks_[s].files.empty() || !mask_objects_[s].empty();
  }
  [[nodiscard]] double score(std::size_t s) const {
    const auto weight = in_.manifest.score_weights.find("mask");
    const double factor = weight == in_.manifest.score_weights.end() ? 1 : weight->second;
    return in_.scan.series[s].score + (has_mask(s) && !in_.segmenter ? kMaskPoints * factor : 0);
  }
  [[nodiscard]] static bool names(const std::string& pin, const Series& series) {
    return !pin.empty() && (pin == series.series_uid || pin == series.key);
  }
  [[nodiscard]] bool pinned(const Series& series) const {
    const auto& pins = in_.manifest.pin_series;
    return std::any_of(pins.begin(), pins.end(),
                       [&](const std::string& pin) { return names(pin, series); });
  }

  // A pin that does nothing is a mistake in the manifest, or of the export.
  void count_pins() {
    for (const std::string& pin : in_.manifest.pin_series) {
      bool found = false, usable = false;
      for (const Series& series : in_.scan.series)
        if (names(pin, series)) {
          found = true;
          usable = usable || series.code == Code::USED;
        }
      if (!found) ++plan_.unmatched_pins;
      if (found && !usable) ++plan_.unusable_pins;
    }
  }

  // With --require-phase portal a series whose header names another phase comes last.
  [[nodiscard]] bool may_be_portal(std::size_t s) const {
    const Series& series = in_.scan.series[s];
    return !in_.config.require_portal || pinned(series) || series.phase == Phase::portal ||
           series.phase == Phase::unknown;
  }

  void reject(std::size_t s, const std::string& name, Code code, const std::string& detail) {
    set_files(s, code, name, detail);
    if (info(code).kind == CodeKind::rejected)
      plan_.rejections.push_back({name, "select", code, detail});
  }

  // One study: eligible series by score; the best, the pinned or all of them become cases.
  void choose(const std::vector<std::size_t>& members) {
    std::vector<std::size_t> eligible;
    for (const std::size_t s : members)
      if (in_.scan.series[s].code == Code::USED) eligible.push_back(s);
    std::stable_sort(eligible.begin(), eligible.end(), [&](std::size_t a, std::size_t b) {
      if (may_be_portal(a) != may_be_portal(b)) return may_be_portal(a);
      if (score(a) != score(b)) return score(a) > score(b);
      return in_.scan.series[a].key < in_.scan.series[b].key;
    });
    std::set<std::size_t> chosen;
    for (const std::size_t s : eligible)
      if (in_.config.all_series || pinned(in_.scan.series[s])) chosen.insert(s);
    if (chosen.empty() && !eligible.empty()) chosen.insert(eligible.front());

    for (const std::size_t s : chosen) plan_.series[s].chosen = true;

    const bool pin_failed = std::any_of(members.begin(), members.end(), [&](std::size_t s) {
      return pinned(in_.scan.series[s]) && in_.scan.series[s].code != Code::USED;
    });

    nlohmann::json candidates = nlohmann::json::array();
    for (const std::size_t s : members) candidates.push_back(candidate(s, chosen.contains(s)));
    // Order must not depend on identifiers' order alone: chosen first, then score, then name.
    std::sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
      const auto rank = [](const auto& c) {
        return std::tuple(!c["chosen"].template get<bool>(), -c["score"].template get<double>(),
                          c["name"].template get<std::string>());
      };
      return rank(a) < rank(b);
    });
    for (const std::size_t s : members) {
      const Series& series = in_.scan.series[s];
      const std::string name = in_.naming.case_name(case_identity(series));
      if (series.code != Code::USED)
        reject(s, name, series.code, series.detail);
      else if (!chosen.contains(s))
        set_files(s, Code::NOT_SELECTED, "", "");
      else
        add_case(s, name, candidates, pin_failed);
    }
  }

  [[nodiscard]] static std::string case_identity(const Series& series) {
    return series.is_dicom ? series.key : path_stem(series);
  }

  [[nodiscard]] nlohmann::json candidate(std::size_t s, bool chosen) const {
    const Series& series = in_.scan.series[s];
    nlohmann::json reasons = nlohmann::json::array();
    for (const ScoreReason& r : series.reasons)
      reasons.push_back({{"criterion", r.criterion}, {"points", r.points}, {"why", r.why}});
    if (score(s) != series.score)
      reasons.push_back(
          {{"criterion", "mask"}, {"points", score(s) - series.score}, {"why", "has a mask"}});
    const bool pin = pinned(series);
    if (pin)
      reasons.push_back({{"criterion", "pinned"}, {"points", 0}, {"why", "named in the manifest"}});
    const Code disposition = series.code != Code::USED ? series.code
                             : chosen                  ? Code::USED
                                                       : Code::NOT_SELECTED;
    return {{"name", in_.naming.case_name(case_identity(series))},
            {"chosen", chosen},
            {"disposition", to_string(disposition)},
            {"phase", to_string(series.phase)},
            {"reasons", reasons},
            {"score", score(s)},
            {"slices", series.planes.size()},
            {"spacing_mm", series.spacing_mm},
            {"thickness_mm", series.thickness_mm}};
  }

  void add_case(std::size_t s, const std::string& name, const nlohmann::json& candidates,
                bool pin_failed) {
    const Series& series = in_.scan.series[s];
    const Identity& who = subjects_.of[s];
    if (in_.excluded != nullptr && in_.excluded->contains(name)) {
      if (in_.labels != nullptr) in_.labels->use(labels_[s]);  // its row fits a case
      return set_files(s, Code::EXCLUDED, name, "rated exclude");
    }
    if (subjects_.conflicts.contains(who.text))
      return reject(s, name, Code::SUBJECT_CONFLICT,
                    who.verified ? "sex or birth date differ within one patient ID"
                                 : "a study without a patient ID holds several persons, and this "
                                   "series does not say whose it is");
    if (!who.verified && in_.config.strict_subjects)
      return reject(s, name, Code::SUBJECT_MISSING,
                    series.is_dicom
                        ? "the patient ID is empty or a placeholder"
                        : "a NIfTI or NRRD file names no patient, nor does the manifest");
    CasePlan plan;
    plan.series = s;
    plan.name = name;
    plan.subject = in_.naming.subject(who.text);
    plan.candidates = candidates;
    plan.flags = series.flags;
    if (!who.verified) plan.flags.push_back(Code::SUBJECT_UNVERIFIED);
    plan.pinned = pinned(series);
    if (pin_failed && !plan.pinned) plan.flags.push_back(Code::PIN_UNUSABLE);
    // Where the header says nothing, the liver's HU decide, once there is a mask (case_work.cpp).
    if (!may_be_portal(s))
      return reject(s, name, Code::PHASE_NOT_PORTAL,
                    "by its header the best series is " + std::string(to_string(series.phase)));
    if (series.is_dicom && series.phase != Phase::portal && !plan.pinned)
      plan.flags.push_back(Code::PHASE_UNSURE);
    plan.labels.assign(std::max<std::size_t>(1, in_.manifest.labels.size()), -1);
    plan.continuous.assign(in_.manifest.continuous.size(),
                           std::numeric_limits<double>::quiet_NaN());
    if (in_.labels != nullptr) {
      const LabelTable::Lookup& found = labels_[s];
      in_.labels->use(found);
      if (found.state == LabelTable::Lookup::State::ambiguous)
        return reject(s, name, Code::LABEL_AMBIGUOUS, found.problem);
      if (found.state == LabelTable::Lookup::State::found) {
        plan.labels = found.labels.values;
        plan.continuous = found.labels.continuous;
        plan.label_rows = found.rows;
        plan.split = found.labels.split;
      } else {
        plan.flags.push_back(Code::LABEL_MISSING);
        if (series.is_dicom && is_placeholder_id(series.patient_id)) ++nameless_;
        ++plan_.unlabelled;
      }
    }
    if (!masks_[s].problem.empty()) return reject(s, name, Code::MASK_AMBIGUOUS, masks_[s].problem);
    plan.mask_files = masks_[s].files;
    plan.mask_objects = mask_objects_[s];
    set_files(s, Code::USED, name, "");
    plan_.names[name] = case_identity(series);
    plan_.names[plan.subject] = who.text;
    plan_.cases.push_back(std::move(plan));
  }

  void drop_duplicate_names() {
    std::vector<CasePlan> unique;
    for (CasePlan& plan : plan_.cases) {
      if (!unique.empty() && unique.back().name == plan.name) {
        plan_.rejections.push_back({plan.name, "select", Code::DUPLICATE_CASE, ""});
        for (const std::size_t file : source_files(in_.scan.series[plan.series]))
          plan_.files[file] = {Code::DUPLICATE_CASE, plan.name, ""};
        continue;
      }
      unique.push_back(std::move(plan));
    }
    plan_.cases = std::move(unique);
  }

  const PlanInputs& in_;
  IngestPlan plan_;
  Subjects subjects_;
  std::vector<MaskMatch> masks_;
  std::vector<CaseKeys> case_keys_;
  std::vector<LabelTable::Lookup> labels_;
  std::size_t nameless_ = 0;  // cases without a patient ID and a label
  std::vector<std::vector<std::size_t>> mask_objects_;
  std::vector<bool> is_mask_;
  std::map<std::string, std::vector<std::size_t>> studies_;
};

}  // namespace

IngestPlan plan_cases(const PlanInputs& inputs) { return Planner(inputs).run(); }

}  // namespace wsp
