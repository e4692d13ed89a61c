#include "preprocess/pipeline/plan_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "io/core/printable.hpp"

namespace wsp {
namespace {

using Json = nlohmann::json;

Json words(const std::vector<Code>& codes) {
  Json list = Json::array();
  for (const Code code : codes) list.push_back(to_string(code));
  return list;
}

class Report {
 public:
  explicit Report(const Forecast& forecast) : f_(forecast) {
    for (const CasePlan& plan : f_.plan.cases) planned_[plan.series] = &plan;
    for (const Rejection& rejection : f_.plan.rejections)
      refused_.emplace(rejection.case_name, &rejection);
  }

  Json make() {
    // Whose, then which study, then its series: the taken first, as they were chosen.
    std::map<std::string, std::map<std::string, std::vector<std::size_t>>> studies;
    for (std::size_t s = 0; s < f_.scan.series.size(); ++s) {
      const Series& series = f_.scan.series[s];
      for (const std::size_t file : source_files(series)) in_series_.insert(file);
      for (const std::size_t file : series.duplicate_files) in_series_.insert(file);
      if (serves_as_mask(series)) continue;
      studies[f_.plan.series[s].identity][series.is_dicom ? series.study_uid : ""].push_back(s);
    }
    Json patients = Json::array();
    for (auto& [identity, by_study] : studies) {
      Json list = Json::array();
      for (auto& [study, members] : by_study) {
        std::stable_sort(members.begin(), members.end(), [&](std::size_t a, std::size_t b) {
          const SeriesChoice &x = f_.plan.series[a], &y = f_.plan.series[b];
          return std::pair(!x.chosen, -x.score) < std::pair(!y.chosen, -y.score);
        });
        Json series = Json::array();
        for (const std::size_t s : members) series.push_back(describe(s));
        list.push_back({{"study", study}, {"series", series}});
      }
      patients.push_back({{"patient", identity}, {"studies", list}});
    }
    const IngestSummary& summary = f_.summary;
    Json totals = to_json(summary);
    for (const char* of_a_run : {"reused_cases", "comparisons", "mean_dice"})
      totals.erase(of_a_run);
    totals["open_cases"] = std::count_if(f_.taken.begin(), f_.taken.end(),
                                         [](const auto& t) { return t.second.open; });
    return {{"format", "wsp-plan"},
            {"version", 1},
            {"quick", f_.quick},
            {"named", f_.named},
            {"patients", patients},
            {"files", files()},
            {"masks_without_case", masks_without_case()},
            {"label_rows",
             {{"total", summary.label_rows}, {"unmatched", summary.unmatched_label_row_numbers}}},
            {"hints", f_.plan.hints},
            {"totals", totals},
            {"error", f_.error ? Json{{"message", f_.error->what()},
                                      {"exit_code", exit_code(f_.error->code())}}
                               : Json()}};
  }

 private:
  [[nodiscard]] Code code_of(const Series& series) const {
    return series.planes.empty() ? series.code : f_.plan.files[series.planes.front().file].code;
  }
  [[nodiscard]] bool serves_as_mask(const Series& series) const {
    return !series.is_dicom && code_of(series) == Code::USED_AS_MASK;
  }
  // Without the key pseudonyms are not known yet.
  [[nodiscard]] Json name(const std::string& text) const { return f_.named ? Json(text) : Json(); }

  Json describe(std::size_t s) const {
    const Series& series = f_.scan.series[s];
    const SeriesChoice& choice = f_.plan.series[s];
    Json reasons = Json::array();
    for (const ScoreReason& r : series.reasons)
      reasons.push_back({{"criterion", r.criterion}, {"points", r.points}, {"why", r.why}});
    if (choice.score != series.score)
      reasons.push_back(
          {{"criterion", "mask"}, {"points", choice.score - series.score}, {"why", "has a mask"}});
    Json line{{"key", series.key},
              {"path", series.relative_path},
              {"files", source_files(series).size()},
              {"slices", series.planes.size()},
              {"phase", to_string(series.phase)},
              {"score", choice.score},
              {"reasons", reasons},
              {"chosen", choice.chosen},
              {"pinned", choice.pinned},
              {"case", name(choice.case_name)}};
    judge(s, line);
    return line;
  }

  void judge(std::size_t s, Json& line) const {
    const Series& series = f_.scan.series[s];
    const auto plan = planned_.find(s);
    if (plan != planned_.end()) add_sources(*plan->second, line);
    Code code = Code::USED;
    std::string detail;
    if (const auto taken = f_.taken.find(s); taken != f_.taken.end()) {
      const CaseVerdict& verdict = taken->second;
      line["verdict"] = verdict.open ? "open" : "taken";
      line["flags"] = words(verdict.flags);
      if (!verdict.mask_source.empty()) line["mask"]["source"] = verdict.mask_source;
      if (!verdict.open) {
        line["mask"]["liver_ml"] = verdict.liver_ml;
        line["kept"] = {{"acquired", verdict.acquired},
                        {"liver_first", verdict.extent.first},
                        {"liver_last", verdict.extent.last},
                        {"kept_first", verdict.kept.first},
                        {"kept_count", verdict.kept.count()}};
      }
    } else if (const auto refused = refused_.find(f_.plan.series[s].case_name);
               refused != refused_.end() &&
               (f_.plan.series[s].chosen || series.code != Code::USED)) {
      code = refused->second->code;
      detail = refused->second->detail;
    } else if (series.code != Code::USED) {
      code = series.code;
      detail = series.detail;
    } else if (f_.plan.series[s].chosen) {
      code = code_of(series);  // refused by another word than a case's
    } else {
      code = Code::NOT_SELECTED;
    }
    line["code"] = to_string(code);
    line["detail"] = detail;
    line["remedy"] = info(code).kind == CodeKind::rejected ? info(code).remedy : "";
    if (!line.contains("verdict"))
      line["verdict"] = code == Code::NOT_SELECTED              ? "not_selected"
                        : info(code).kind == CodeKind::rejected ? "refused"
                                                                : "ignored";
  }

  void add_sources(const CasePlan& plan, Json& line) const {
    Json paths = Json::array();
    for (const auto& path : plan.mask_files) paths.push_back(path.generic_string());
    if (paths.empty())  // files come first
      for (const std::size_t m : plan.mask_objects)
        paths.push_back(f_.scan.files[f_.scan.masks[m].file].relative_path);
    line["mask"] = {{"paths", paths}};
    Json labels = Json::object();
    for (std::size_t i = 0; i < plan.labels.size(); ++i)
      labels[i < f_.label_names.size() ? f_.label_names[i] : "label"] = plan.labels[i];
    line["subject"] = name(plan.subject);
    line["split"] = plan.split;
    line["labels"] = labels;
    if (!f_.continuous_names.empty())
      line["continuous"] = numbers_json(f_.continuous_names, plan.continuous);
    line["label_rows"] = Json::array();
    for (const std::size_t row : plan.label_rows) line["label_rows"].push_back(row + 1);
  }

  Json files() const {
    Json list = Json::array();
    for (std::size_t i = 0; i < f_.ledger.size(); ++i) {
      const auto& [path, file] = f_.ledger[i];
      if (info(file.code).kind == CodeKind::used || in_series_.contains(i)) continue;
      list.push_back({{"path", path},
                      {"code", to_string(file.code)},
                      {"detail", file.detail},
                      {"remedy", info(file.code).remedy}});
    }
    return list;
  }

  Json masks_without_case() const {
    Json list = Json::array();
    for (const auto& [path, file] : f_.ledger)
      if (file.code == Code::MASK_UNREFERENCED) list.push_back(path);
    return list;
  }

  const Forecast& f_;
  std::map<std::size_t, const CasePlan*> planned_;   // by series
  std::map<std::string, const Rejection*> refused_;  // by case name
  std::set<std::size_t> in_series_;                  // indices into Scan::files
};

std::string shown(const Json& value) { return printable(value.get<std::string>()); }

constexpr std::size_t kWidth = 80;

// "label  text", broken at blanks; what follows stands under the text.
std::string paragraph(const std::string& label, const std::string& text) {
  std::string lines, line = fmt::format("      {:<8}", label);
  const std::string indent(line.size(), ' ');
  bool empty = true;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (!empty && line.size() + 1 + word.size() > kWidth) {
      lines += line + "\n";
      line = indent;
      empty = true;
    }
    line += (empty ? "" : " ") + word;
    empty = false;
  }
  return lines + line + "\n";
}

std::string joined(const Json& list, const char* between) {
  std::string text;
  for (const auto& item : list) text += (text.empty() ? "" : between) + shown(item);
  return text;
}

std::string series_text(const Json& s) {
  const std::string verdict = s["verdict"].get<std::string>();
  const bool good = verdict == "taken" || verdict == "open";
  std::string text =
      fmt::format("    {} {:<26} {:>6}  {:<10}  {:>6.1f}{}\n",
                  good                   ? '+'
                  : verdict == "refused" ? '!'
                                         : '-',
                  good ? verdict : s["code"].get<std::string>(), s["slices"].get<std::size_t>(),
                  s["phase"].get<std::string>(), s["score"].get<double>(),
                  s["pinned"].get<bool>()   ? "  pinned"
                  : s["chosen"].get<bool>() ? "  chosen"
                                            : "");
  const auto files = s["files"].get<std::size_t>();
  text += paragraph("from",
                    shown(s["path"]) + (files > 1 ? fmt::format(" and {} more", files - 1) : ""));
  if (s["case"].is_string() && (good || verdict == "refused"))
    text += paragraph(
        "case", shown(s["case"]) + (s.contains("subject") ? " of " + shown(s["subject"]) : ""));
  if (!s["detail"].get<std::string>().empty()) text += paragraph("found", shown(s["detail"]));
  if (!s["remedy"].get<std::string>().empty()) text += paragraph("do", shown(s["remedy"]));
  std::string why;
  for (const auto& r : s["reasons"])
    why += fmt::format("{}{} {:+.4g} ({})", why.empty() ? "" : ", ", shown(r["criterion"]),
                       r["points"].get<double>(), shown(r["why"]));
  if (!why.empty()) text += paragraph("score", why);
  if (s.contains("mask")) {
    const Json& mask = s["mask"];
    const std::string source = mask.value("source", "");
    std::string from = source == "model" ? "a model will be asked" : joined(mask["paths"], ", ");
    if (from.empty()) from = "none";
    if (mask.contains("liver_ml"))
      from = fmt::format("{}, {:.1f} ml: {}", source, mask["liver_ml"].get<double>(), from);
    text += paragraph("mask", from);
  }
  if (s.contains("label_rows") && !s["label_rows"].empty()) {
    std::string labels = "row";
    for (const auto& row : s["label_rows"]) labels += fmt::format(" {}", row.get<std::size_t>());
    labels += ":";
    for (const auto& [name, value] : s["labels"].items())
      labels += fmt::format(" {} {}", name, value.get<std::int64_t>());
    if (!s["split"].get<std::string>().empty()) labels += "; split " + shown(s["split"]);
    text += paragraph("label", labels);
  }
  if (s.contains("kept"))
    text += paragraph("keeps", fmt::format("{} of {} slices", s["kept"]["kept_count"].get<int>(),
                                           s["kept"]["acquired"].get<int>()));
  if (s.contains("flags") && !s["flags"].empty())
    text += paragraph("flags", joined(s["flags"], " "));
  return text;
}

// The first few of a long list; --json has all.
template <class Line>
std::string listed(const Json& list, std::size_t most, Line line) {
  std::string text;
  for (std::size_t i = 0; i < std::min(most, list.size()); ++i) text += line(list[i]);
  if (list.size() > most) text += fmt::format("    and {} more (--json)\n", list.size() - most);
  return text;
}

std::string counted(const Json& counts) {
  std::string text;
  for (const auto& [what, count] : counts.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count.get<std::size_t>(), what);
  return text;
}

}  // namespace

Json plan_report(const Forecast& forecast) { return Report(forecast).make(); }

std::string plan_text(const Json& report) {
  std::string text = fmt::format("{:<32} {:>6}  {:<10}  {:>6}\n", "PATIENT / STUDY / VERDICT",
                                 "SLICES", "PHASE", "SCORE");
  for (const auto& patient : report["patients"]) {
    text += "patient " + shown(patient["patient"]) + "\n";
    for (const auto& study : patient["studies"]) {
      if (!study["study"].get<std::string>().empty())
        text += "  study " + shown(study["study"]) + "\n";
      for (const auto& series : study["series"]) text += series_text(series);
    }
  }
  constexpr std::size_t kShown = 10;
  std::map<std::string, Json> by_code;
  for (const auto& file : report["files"])
    if (file["code"] != to_string(Code::MASK_UNREFERENCED))  // below
      by_code[file["code"].get<std::string>()].push_back(file);
  if (!by_code.empty()) text += "\nFILES THAT GIVE NOTHING\n";
  for (const auto& [code, list] : by_code) {
    text += fmt::format("  {} {}\n", list.size(), code);
    if (const std::string remedy = shown(list[0]["remedy"]); !remedy.empty())
      text += paragraph("do", remedy);
    text += listed(list, kShown, [](const Json& file) {
      const std::string path = "    " + shown(file["path"]), detail = shown(file["detail"]);
      if (detail.empty()) return path + "\n";
      const bool fits = path.size() + 2 + detail.size() <= kWidth;
      return path + (fits ? "  " + detail + "\n" : "\n" + paragraph("", detail));
    });
  }
  if (const Json& masks = report["masks_without_case"]; !masks.empty())
    text += "\nMASKS WITHOUT A CASE\n" +
            listed(masks, kShown, [](const Json& path) { return "    " + shown(path) + "\n"; });
  if (const Json& rows = report["label_rows"]["unmatched"]; !rows.empty()) {
    text += fmt::format("\nLABEL ROWS WITHOUT A CASE (of {}, numbered without the header)\n   ",
                        report["label_rows"]["total"].get<std::size_t>());
    text += listed(rows, 2 * kShown,
                   [](const Json& row) { return " " + std::to_string(row.get<std::size_t>()); }) +
            "\n";
  }
  for (const auto& hint : report["hints"]) text += "\nhint: " + shown(hint) + "\n";
  const Json& totals = report["totals"];
  text += fmt::format("\n{} cases of {} subjects would be taken, {} refused\n",
                      totals["cases"].get<std::size_t>(), totals["subjects"].get<std::size_t>(),
                      totals["quarantined_cases"].get<std::size_t>());
  if (!totals["quarantine_codes"].empty())
    text += paragraph("refused", counted(totals["quarantine_codes"]));
  if (!totals["flags"].empty()) text += paragraph("flags", counted(totals["flags"]));
  text += paragraph("files", counted(totals["file_codes"]));
  if (totals["unlabelled_cases"].get<std::size_t>() > 0)
    text += paragraph(
        "labels", fmt::format("{} cases have none", totals["unlabelled_cases"].get<std::size_t>()));
  if (report["quick"].get<bool>())
    text +=
        "By headers alone: without --quick the pixels and masks are judged too, and verdicts\n"
        "may change.\n";
  else if (const auto open = totals["open_cases"].get<std::size_t>(); open > 0)
    text += fmt::format("{} of them are open: the model's mask decides.\n", open);
  if (!report["named"].get<bool>())
    text += "The names of cases and subjects come with the site key.\n";
  return text;
}

}  // namespace wsp
