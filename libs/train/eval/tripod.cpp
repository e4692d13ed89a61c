#include "train/eval/tripod.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>

#include "train/eval/cell.hpp"
#include "train/eval/results.hpp"
#include "train/eval/source_facts.hpp"
#include "train/eval/tripod_items.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using Lines = std::vector<std::string>;

std::string listed(const json& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, n] : counts.items())
    parts.push_back(fmt::format("{} {}", name, n.get<std::int64_t>()));
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ", "));
}

class Report {
 public:
  Report(const Plan& plan, const std::vector<json>& cells, const std::vector<ResultTable>& tables,
         const fs::path& root)
      : plan_(plan),
        cells_(cells),
        tables_(tables),
        results_(cells),
        train_(training_of(plan.cells().front())) {
    const auto then = [&](const std::string& key) {
      for (const json& cell : cells_)
        if (cell.value("inputs", json::object()).contains(key))
          return cell["inputs"][key].get<std::string>();
      return std::string();
    };
    if (!plan.pretraining.empty())
      sources_.push_back(source_of("pretraining", plan.pretraining, root, then("pretraining"),
                                   train_.include_flagged));
    for (const Evaluation& e : plan.evaluations)
      sources_.push_back(source_of("evaluation " + e.name, e.dataset, root,
                                   then("evaluation " + e.name), train_.include_flagged));
  }

  [[nodiscard]] Lines answer(std::string_view number) const {
    const std::map<std::string_view, Lines (Report::*)() const> answers{
        {"5a", &Report::data},          {"6b", &Report::eligibility},
        {"7", &Report::preparation},    {"8a", &Report::outcome},
        {"9b", &Report::predictors},    {"9c", &Report::masks},
        {"10", &Report::analyses},      {"11", &Report::missing},
        {"12a", &Report::partition},    {"12b", &Report::handling},
        {"12c", &Report::model},        {"12d", &Report::clusters},
        {"12e", &Report::measures},     {"12f", &Report::no_updating},
        {"12g", &Report::predictions},  {"13", &Report::imbalance},
        {"14", &Report::fairness},      {"15", &Report::output},
        {"16", &Report::shift},         {"18f", &Report::code},
        {"20a", &Report::flow},         {"20b", &Report::characteristics},
        {"20c", &Report::shift},        {"21", &Report::analyses},
        {"22", &Report::specification}, {"23a", &Report::performance},
        {"23b", &Report::within},       {"24", &Report::no_updating},
        {"26", &Report::limits},        {"27a", &Report::poor_input}};
    const auto found = answers.find(number);
    return found == answers.end() ? Lines{} : (this->*found->second)();
  }

 private:
  // A line of every dataset that is there, and of every other one why it is not.
  template <class Line>
  [[nodiscard]] Lines of_sources(const Line& line) const {
    const auto told = [&](const Source& s) -> std::string {
      if (!s.absent.empty()) return "not known here: " + s.absent;
      try {
        return line(s);
      } catch (const json::exception&) {
        return "its dataset.json does not say";
      }
    };
    Lines lines;
    for (const Source& s : sources_)
      lines.push_back(fmt::format("{} ({}): {}", s.what, s.directory, told(s)));
    return lines;
  }
  [[nodiscard]] static std::string options(const Source& s) {
    const json& c = s.told.at("config");
    return fmt::format(
        "window {} to {} HU; {} slices, the central {} ‰ of the liver; {}² pixels; at least {} "
        "slices and {} mm² of liver",
        c.at("window_hu")[0].get<int>(), c.at("window_hu")[1].get<int>(),
        c.at("slices").get<std::string>(), c.at("central_fraction_permille").get<int>(),
        c.at("size").get<int>(), c.at("min_slices").get<int>(), c.at("min_area_mm2").get<double>());
  }

  [[nodiscard]] Lines data() const {
    return of_sources([](const Source& s) {
      const json& c = s.told.at("counts");
      return fmt::format(
          "manifest {}, {} files, {} cases of {} subjects, {} slices; dataset.json has SHA-256 {}",
          s.told.at("config").value("manifest", "unknown"), c.at("files").get<std::int64_t>(),
          c.at("cases").get<std::int64_t>(), c.at("subjects").get<std::int64_t>(),
          c.at("slices").get<std::int64_t>(), s.sha256);
    });
  }
  [[nodiscard]] Lines eligibility() const {
    return {
        "One series of a study is taken, by coverage, thickness, kernel, phase and image type; "
        "every other file has a code in the dataset's ledger.tsv (20a).",
        train_.include_flagged ? "Cases whose depth is doubtful are taken (include_flagged)."
                               : "Cases whose depth is doubtful, such as livers that the scan cuts "
                                 "off, are left out."};
  }
  [[nodiscard]] Lines preparation() const {
    return of_sources([](const Source& s) { return options(s); });
  }
  [[nodiscard]] Lines outcome() const {
    Lines lines;
    for (const Evaluation& e : plan_.evaluations)
      lines.push_back(fmt::format("{}: {} is positive where it is {}", e.name, e.diagnosis.label,
                                  e.diagnosis.positive));
    return lines;
  }
  [[nodiscard]] Lines predictors() const {
    return {
        "Slices of liver CT, one by one, through an encoder; a subject's probability is the mean "
        "over the slices."};
  }
  [[nodiscard]] Lines masks() const {
    return of_sources(
        [](const Source& s) { return "liver masks of the cases are from: " + counted(s.masks); });
  }
  [[nodiscard]] Lines missing() const {
    Lines lines = of_sources([](const Source& s) {
      return fmt::format("{} of {} cases without a row in the label table",
                         s.told.at("counts").at("unlabelled_cases").get<std::int64_t>(),
                         s.told.at("counts").at("cases").get<std::int64_t>());
    });
    lines.emplace_back(
        "Subjects without the diagnosis are left out of its evaluation. Nothing is imputed.");
    return lines;
  }
  [[nodiscard]] Lines partition() const {
    Lines lines{
        fmt::format("Stratified cross-validation in {} folds by subject{}; every subject is tested "
                    "once in each.",
                    plan_.protocol.cv.folds,
                    plan_.protocol.cv.repeats > 1
                        ? fmt::format(", repeated {} times", plan_.protocol.cv.repeats)
                        : "")};
    if (!plan_.pretraining.empty())
      lines.emplace_back(
          "Encoders are pretrained on the pretraining dataset alone; a subject in both is "
          "refused.");
    return lines;
  }
  [[nodiscard]] Lines handling() const {
    return {fmt::format(
        "Images of {0} × {0} pixels; features are standardised by the training part of each fold.",
        train_.image_size)};
  }
  [[nodiscard]] Lines model() const {
    return {fmt::format("Encoders: {} on {}; seeds {}.", fmt::join(plan_.methods, ", "),
                        fmt::join(plan_.backbones, ", "), fmt::join(plan_.seeds, ", ")),
            plan_.protocol.cv.neighbours > 0
                ? fmt::format("On them the share of the {} nearest slices by cosine.",
                              plan_.protocol.cv.neighbours)
            : plan_.protocol.cv.c_grid.empty()
                ? fmt::format("On them an L2-regularised logistic regression with C = {}.",
                              plan_.protocol.cv.c)
                : "On them an L2-regularised logistic regression; C is chosen in inner folds."};
  }
  [[nodiscard]] Lines clusters() const {
    return plan_.evaluations.size() < 2
               ? Lines{"There is one evaluation dataset."}
               : Lines{
                     "Each dataset has results of its own. Of all together the AUC within datasets "
                     "stands beside the pooled one, and diagnoses are shuffled within datasets."};
  }
  [[nodiscard]] Lines measures() const {
    return {
        fmt::format("AUC, balanced accuracy, sensitivity, specificity, Brier score, calibration in "
                    "the large, slope and expected error; mean (sd) over folds and 95 % intervals "
                    "of the expected value from {} divisions into halves, everything fitted anew.",
                    plan_.protocol.divisions),
        "ROC with band, calibration plot, decision curve; paired differences to WSP with Holm's "
        "correction; permutation test.",
        "Fine-tuned networks are not trained anew: their intervals are too narrow, and marked."};
  }
  [[nodiscard]] Lines no_updating() const { return {"No model was updated."}; }
  [[nodiscard]] Lines predictions() const {
    return {
        "Each subject's out-of-fold probabilities stand in cells/NAME/cell.json "
        "(results.EVALUATION.predictions)."};
  }
  [[nodiscard]] Lines imbalance() const {
    return {
        "The classifier is fitted without resampling or weights; folds and halves are stratified "
        "by class."};
  }
  [[nodiscard]] Lines fairness() const {
    return {
        "Not examined by the plan. `wsp-eval probe FEATURES --by COLUMN` (sex, age, scanner, …) "
        "gives each group's AUC with its interval."};
  }
  [[nodiscard]] Lines output() const {
    return {
        fmt::format("A probability. Sensitivity and specificity of the table are at 0.5; the "
                    "pictures also show Youden's threshold and one with a sensitivity of at least "
                    "{}, both chosen on the subjects that they are shown on.",
                    plan_.protocol.sensitivity)};
  }
  [[nodiscard]] Lines shift() const {
    return {
        "Datasets side by side: 20b. What the features tell of scanner, kernel, spacing and "
        "dataset: table `checks`, shortcuts."};
  }
  [[nodiscard]] Lines code() const {
    return {
        fmt::format("WSP toolkit {}; the text of the plan {} stands in results.json. The same "
                    "plan, data and machine give the same numbers.",
                    WSP_VERSION, plan_.name)};
  }
  [[nodiscard]] Lines flow() const {
    return of_sources([](const Source& s) {
      const json& c = s.told.at("counts");
      return fmt::format(
          "{} files: {}; {} cases quarantined, {} in the dataset, of {} subjects; {} cases with a "
          "trusted depth; flags: {}",
          c.at("files").get<std::int64_t>(), listed(s.told.at("dispositions")),
          c.at("quarantined_cases").get<std::int64_t>(), c.at("cases").get<std::int64_t>(),
          c.at("subjects").get<std::int64_t>(), s.cases.cases.size(),
          s.flags.empty() ? "none" : counted(s.flags));
    });
  }
  [[nodiscard]] Lines characteristics() const { return of_sources(characteristics_of); }
  [[nodiscard]] Lines analyses() const {
    Lines lines;
    for (const std::string& e : evaluations_of(plan_))
      for (const auto& [method, backbone] : plan_.rows())
        if (const Group g = results_.group(method, backbone, "", e); g.subjects > 0) {
          lines.push_back(
              fmt::format("{}: {} subjects, {} with the outcome", e, g.subjects, g.positives));
          break;
        }
    return lines;
  }
  [[nodiscard]] Lines specification() const {
    return {
        "Encoders: cells/NAME/run/encoder.safetensors. The classifier on them: `wsp-eval probe "
        "FEATURES --save P.json`, coefficients and standardisation included, which `wsp-eval "
        "predict` takes."};
  }
  [[nodiscard]] Lines performance() const {
    Lines lines;
    for (const ResultTable& t : tables_)
      if (t.name == "auc" || t.name == "balanced-accuracy" || t.name == "checks")
        lines.push_back(t.title + ": " + t.name + ".tsv, results.html");
    for (const ResultTable& t : tables_)
      lines.insert(lines.end(), t.verdicts.begin(), t.verdicts.end());
    return lines;
  }
  [[nodiscard]] Lines within() const {
    return plan_.aggregate.empty()
               ? Lines{"Not examined: there is no aggregate of datasets."}
               : Lines{"Results of each dataset beside those of " + plan_.aggregate + ": Table 1."};
  }
  [[nodiscard]] Lines limits() const {
    Lines lines{
        "Intervals say what other patients of the same kind would change, not another hospital, "
        "pretraining or way of choosing patients."};
    for (const std::string& note : plan_.left_out()) lines.push_back(note);
    if (cells_.size() < plan_.cells().size())
      lines.push_back(fmt::format("{} of {} cells are missing in the results.",
                                  plan_.cells().size() - cells_.size(), plan_.cells().size()));
    return lines;
  }
  [[nodiscard]] Lines poor_input() const {
    return {
        "The ingest refuses or flags by name what it cannot prove (schemas/codes.json); `wsp-qa` "
        "shows it."};
  }

  const Plan& plan_;
  const std::vector<json>& cells_;
  const std::vector<ResultTable>& tables_;
  Results results_;
  TrainConfig train_;
  std::vector<Source> sources_;
};

}  // namespace

std::string tripod_report(const Plan& plan, const std::vector<json>& cells,
                          const std::vector<ResultTable>& tables, const fs::path& root) {
  const Report report(plan, cells, tables, root);
  std::string text, open;
  int answered = 0, all = 0;
  for (const Section& section : tripod_sections()) {
    text += fmt::format("\n## {}\n", section.name);
    for (const Item& item : section.items) {
      text += fmt::format("\n**{} {}**\n\n", item.number, item.subject);
      const Lines lines = report.answer(item.number);
      for (const std::string& line : lines) text += "- " + line + "\n";
      if (item.authors != nullptr) text += fmt::format("- *Authors:* {}\n", item.authors);
      ++all;
      answered += item.authors == nullptr ? 1 : 0;
      if (lines.empty()) open += fmt::format("{}{}", open.empty() ? "" : ", ", item.number);
    }
  }
  return fmt::format(
             "# TRIPOD+AI: {}\n\nThe {} items of Collins et al. (BMJ 2024;385:e078378), in words "
             "of our own: the statement's hold. {} are "
             "answered by the run alone; where *Authors* stands something is left for you to "
             "write, of these all of it in {}.\n",
             plan.name, all, answered, open) +
         text;
}

}  // namespace wsp::train
