#include "preprocess/pipeline/plan.hpp"

#include <algorithm>
#include <regex>
#include <set>

#include "io/core/hash.hpp"

namespace wsp {
namespace {

constexpr double kMaskPoints = 30;  // a series without any mask source would only be quarantined

bool is_placeholder(std::string_view id) {
  static const std::set<std::string, std::less<>> words{
      "", "0", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "NONE", "PATIENT", "UNKNOWN"};
  std::string upper;
  for (const char c : id)
    if (c != ' ') upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return words.contains(upper);
}

std::string without_extension(std::string path) {
  for (const std::string_view end : {".gz", ".nii", ".nrrd", ".nhdr", ".hdr"})
    if (path.size() > end.size() && path.ends_with(end)) path.resize(path.size() - end.size());
  return path;
}

struct Identity {
  std::string text;  // issuer and patient ID, the user's map, or the study
  bool verified = true;
};

Identity identity_of(const Series& series, const DataManifest& manifest) {
  for (const std::string& key : {series.study_uid, series.patient_id})
    if (const auto mapped = manifest.subject_map.find(key);
        !key.empty() && mapped != manifest.subject_map.end())
      return {mapped->second, true};
  if (!series.is_dicom) {
    std::smatch match;
    if (!manifest.subject_pattern.empty() &&
        std::regex_search(series.relative_path, match, std::regex(manifest.subject_pattern)) &&
        match.size() > 1)
      return {match[1].str(), true};
    return {without_extension(series.relative_path), true};
  }
  if (is_placeholder(series.patient_id))
    return {series.study_uid.empty() ? series.key : series.study_uid, false};
  return {series.issuer.empty() ? series.patient_id : series.issuer + "|" + series.patient_id,
          true};
}

class Planner {
 public:
  explicit Planner(const PlanInputs& inputs) : in_(inputs) {}

  IngestPlan run() {
    plan_.files.resize(in_.scan.files.size());
    for (std::size_t i = 0; i < plan_.files.size(); ++i)
      plan_.files[i] = {in_.scan.files[i].code, "", in_.scan.files[i].detail};
    find_masks();
    gather_subjects();
    for (std::size_t s = 0; s < in_.scan.series.size(); ++s)
      plan_.series.push_back({score(s), false, pinned(in_.scan.series[s])});
    for (const auto& [study, members] : studies_) choose(members);
    std::sort(plan_.cases.begin(), plan_.cases.end(), [&](const CasePlan& a, const CasePlan& b) {
      return std::pair(shard_of(a.name, in_.config.shards), a.name) <
             std::pair(shard_of(b.name, in_.config.shards), b.name);
    });
    drop_duplicate_names();
    count_pins();
    return std::move(plan_);
  }

 private:
  // Mask files of --masks may lie inside the export; they are no volumes then.
  void find_masks() {
    const std::size_t n = in_.scan.series.size();
    mask_files_.resize(n);
    std::set<std::filesystem::path> taken;
    if (in_.masks != nullptr)
      for (std::size_t s = 0; s < n; ++s) {
        if (in_.scan.series[s].code == Code::LABEL_MAP) continue;  // has no mask, may be one
        const auto own =
            std::filesystem::weakly_canonical(in_.scan.root / in_.scan.series[s].relative_path);
        for (const auto& path : in_.masks->find(in_.scan.series[s]))
          if (std::filesystem::weakly_canonical(path) != own) {
            mask_files_[s].push_back(path);
            taken.insert(std::filesystem::weakly_canonical(path));
          }
      }
    is_mask_.resize(n, false);
    for (std::size_t s = 0; s < n; ++s)
      is_mask_[s] =
          !in_.scan.series[s].is_dicom && taken.contains(std::filesystem::weakly_canonical(
                                              in_.scan.root / in_.scan.series[s].relative_path));
    if (in_.config.ignore_mask_objects)
      mask_objects_.resize(n);
    else
      mask_objects_ = referring_masks(in_.scan);
    for (const MaskObject& mask : in_.scan.masks)
      if (plan_.files[mask.file].code == Code::USED)
        plan_.files[mask.file].code = Code::MASK_UNREFERENCED;
  }

  void gather_subjects() {
    std::map<std::string, std::pair<std::set<std::string>, std::set<std::string>>> facts;
    for (std::size_t s = 0; s < in_.scan.series.size(); ++s) {
      const Series& series = in_.scan.series[s];
      identities_.push_back(identity_of(series, in_.manifest));
      const std::string& who = identities_.back().text;
      if (!series.patient_sex.empty()) facts[who].first.insert(series.patient_sex);
      if (!series.patient_birth_date.empty()) facts[who].second.insert(series.patient_birth_date);
      if (is_mask_[s]) {
        set_files(s, Code::USED_AS_MASK, "", "");
        continue;
      }
      studies_[who + '\n' + (series.is_dicom ? series.study_uid : series.key)].push_back(s);
    }
    for (const auto& [who, sets] : facts)
      if (sets.first.size() > 1 || sets.second.size() > 1) conflicts_.insert(who);
  }

  void set_files(std::size_t s, Code code, const std::string& name, const std::string& detail) {
    for (const Plane& plane : in_.scan.series[s].planes) {
      Disposition& file = plan_.files[plane.file];
      if (file.code == Code::USED && !file.case_name.empty()) continue;  // another series uses it
      file = {code, name, detail};
    }
  }

  [[nodiscard]] bool has_mask(std::size_t s) const {
    return !mask_files_[s].empty() || !mask_objects_[s].empty();
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
    return series.is_dicom ? series.key : without_extension(series.key);
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
    const Identity& who = identities_[s];
    if (conflicts_.contains(who.text))
      return reject(s, name, Code::SUBJECT_CONFLICT,
                    "sex or birth date differ within one patient ID");
    if (!who.verified && in_.config.strict_subjects)
      return reject(s, name, Code::SUBJECT_MISSING, "the patient ID is empty or a placeholder");
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
    if (in_.labels != nullptr) {
      const auto found = in_.labels->find({series.patient_id, series.accession, series.study_uid,
                                           series.series_uid, series.relative_path});
      if (found.state == LabelTable::Lookup::State::ambiguous)
        return reject(s, name, Code::LABEL_AMBIGUOUS, "rows of the label table disagree");
      if (found.state == LabelTable::Lookup::State::found) {
        plan.labels = found.labels.values;
        plan.split = found.labels.split;
      } else {
        plan.flags.push_back(Code::LABEL_MISSING);
        ++plan_.unlabelled;
      }
    }
    plan.mask_files = mask_files_[s];
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
        for (const Plane& plane : in_.scan.series[plan.series].planes)
          plan_.files[plane.file] = {Code::DUPLICATE_CASE, plan.name, ""};
        continue;
      }
      unique.push_back(std::move(plan));
    }
    plan_.cases = std::move(unique);
  }

  const PlanInputs& in_;
  IngestPlan plan_;
  std::vector<Identity> identities_;
  std::vector<std::vector<std::filesystem::path>> mask_files_;
  std::vector<std::vector<std::size_t>> mask_objects_;
  std::vector<bool> is_mask_;
  std::map<std::string, std::vector<std::size_t>> studies_;
  std::set<std::string> conflicts_;
};

}  // namespace

std::vector<std::vector<std::size_t>> referring_masks(const Scan& scan) {
  std::map<std::string, std::vector<std::size_t>> by_instance, by_series;
  for (std::size_t m = 0; m < scan.masks.size(); ++m) {
    for (const auto& uid : scan.masks[m].sop_instance_uids) by_instance[uid].push_back(m);
    for (const auto& uid : scan.masks[m].series_uids)
      if (!uid.empty()) by_series[uid].push_back(m);
  }
  std::vector<std::vector<std::size_t>> referring;
  for (const Series& series : scan.series) {
    std::set<std::size_t> found;
    for (const Plane& plane : series.planes)
      if (const auto hit = by_instance.find(plane.sop_instance_uid); hit != by_instance.end())
        found.insert(hit->second.begin(), hit->second.end());
    if (const auto hit = by_series.find(series.series_uid); hit != by_series.end())
      found.insert(hit->second.begin(), hit->second.end());
    referring.emplace_back(found.begin(), found.end());
  }
  return referring;
}

IngestPlan plan_cases(const PlanInputs& inputs) { return Planner(inputs).run(); }

}  // namespace wsp
