// wsp-qa: what is in a dataset, and what is wrong with it.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/printable.hpp"
#include "preprocess/report/report.hpp"
#include "tool_main.hpp"

namespace {

struct Options {
  std::string dataset, out, rules, baseline, ratings, fail_on = "error";
  double embed_mib = 24;
  wsp::qa::QaOptions qa;
};

void declare(CLI::App& app, Options& o) {
  app.add_option("DATASET", o.dataset, "Dataset directory that wsp-ingest made")->required();
  app.add_option("--out", o.out, "Where the report goes (default: DATASET/qa)");
  app.add_option("--rules", o.rules,
                 "Severities and limits (JSON, schemas/rules.schema.json); what it does not name "
                 "keeps its default");
  app.add_option(
         "--fail-on", o.fail_on,
         "Exit with 3 when a finding of this severity or above exists: error, warning or never")
      ->check(CLI::IsMember({"error", "warning", "never"}))
      ->capture_default_str();
  app.add_option(
      "--baseline", o.baseline,
      "Another dataset whose QA has run: compare distributions, look for the same volumes");
  app.add_option("--ratings", o.ratings, "Ratings saved from an earlier report's page (TSV)");
  app.add_flag("--force", o.qa.force,
               "Write into a directory that holds other files than an earlier report");
  app.add_flag("--fresh", o.qa.fresh, "Read all pixels again, also those of unchanged shards");
  app.add_option("--embed-mib", o.embed_mib,
                 "MiB of pictures inside report.html; the others stay beside it")
      ->check(CLI::Range(0.0, 1024.0))
      ->capture_default_str();
  app.add_option("--slice-size", o.qa.slice_side,
                 "Longest side, in pixels, of the slices that the page shows of a case; 0: none, "
                 "six small ones alone")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  auto* card = app.add_option_group("For croissant.json and the dataset card");
  card->add_option("--title", o.qa.publication.title, "Name of the dataset");
  card->add_option("--description", o.qa.publication.description,
                   "What it is (default: its counts)");
  card->add_option("--license", o.qa.publication.license, "Licence, as a URL");
  card->add_option("--url", o.qa.publication.url, "Where it is published");
  card->add_option("--creator", o.qa.publication.creator, "Who publishes it");
  card->add_option("--date", o.qa.publication.date, "Date of publication, YYYY-MM-DD");
  card->add_option("--croissant", o.qa.publication.croissant,
                   "Version of the Croissant format: 1.0 or 1.1")
      ->check(CLI::IsMember({"1.0", "1.1"}))
      ->capture_default_str();
}

std::optional<std::filesystem::path> path_or_none(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return std::filesystem::path(text);
}

void print(const wsp::qa::QaSummary& s) {
  std::cout << fmt::format("{} cases of {} subjects: {} errors, {} warnings -> {}\n", s.cases,
                           s.subjects, s.errors, s.warnings, wsp::printable(s.report.string()));
  for (const auto& [code, n] : s.codes) std::cout << fmt::format("  {} {}\n", code, n);
  if (s.taken > 0)
    std::cout << fmt::format("  pixels: {} {} read, {} unchanged since the last run\n", s.read,
                             s.read == 1 ? "case" : "cases", s.taken);
  std::cout << fmt::format("  page: {:.1f} MiB, pictures and slices beside it {:.1f} MiB\n",
                           static_cast<double>(s.page_bytes) / 1048576,
                           static_cast<double>(s.beside_bytes) / 1048576);
  if (s.with_baseline)
    std::cout << fmt::format("  baseline: {} of {} tests say that the datasets differ\n",
                             s.baseline_drifts, s.baseline_tests);
  if (s.ratings > 0)
    std::cout << fmt::format("  ratings: {} of {} are of cases of this dataset\n",
                             s.ratings - s.unmatched_ratings.size(), s.ratings);
  std::cout << fmt::format("  depth: {} suits this dataset; {}\n", s.depth, s.depth_reason);
}

void warn(const wsp::qa::QaSummary& s) {
  constexpr std::size_t kNamed = 10;
  if (!s.unmatched_ratings.empty()) {
    std::string names;
    for (std::size_t i = 0; i < std::min(kNamed, s.unmatched_ratings.size()); ++i)
      names += (i > 0 ? ", " : "") + s.unmatched_ratings[i];
    wsp::log::warn(fmt::format("--ratings: {} of {} rated cases are not in this dataset: {}{}",
                               s.unmatched_ratings.size(), s.ratings, names,
                               s.unmatched_ratings.size() > kNamed ? ", ..." : ""));
  }
  if (s.missing_previews > 0)
    wsp::log::warn(fmt::format(
        "{} of the previews that dataset.json lists are missing, so the report shows none of them: "
        "`wsp-ingest verify` says what is damaged",
        s.missing_previews));
}

int run(const Options& o, bool json) {
  wsp::qa::QaOptions qa = o.qa;
  qa.dataset = o.dataset;
  qa.out = path_or_none(o.out);
  qa.rules = path_or_none(o.rules);
  qa.baseline = path_or_none(o.baseline);
  qa.ratings = path_or_none(o.ratings);
  qa.embed_bytes = static_cast<std::uint64_t>(o.embed_mib * 1048576);
  qa.tool_version = WSP_VERSION;
  const wsp::qa::QaSummary s = wsp::qa::run_qa(qa);
  warn(s);
  if (json) {
    nlohmann::json j{{"cases", s.cases},
                     {"subjects", s.subjects},
                     {"errors", s.errors},
                     {"warnings", s.warnings},
                     {"codes", s.codes},
                     {"pixels_read", s.read},
                     {"pixels_taken_over", s.taken},
                     {"depth", s.depth},
                     {"page_bytes", s.page_bytes},
                     {"beside_bytes", s.beside_bytes},
                     {"report", s.report.string()}};
    if (s.with_baseline)
      j["baseline"] = {{"tests", s.baseline_tests}, {"drifts", s.baseline_drifts}};
    if (s.ratings > 0) j["ratings"] = {{"given", s.ratings}, {"unmatched", s.unmatched_ratings}};
    std::cout << wsp::json_text(j, 1) << "\n";
  } else {
    print(s);
  }
  const bool fails =
      o.fail_on != "never" && (s.errors > 0 || (o.fail_on == "warning" && s.warnings > 0));
  return fails ? 3 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  wsp::Tool tool;
  tool.name = "wsp-qa";
  tool.description =
      "Judge a dataset before a model is trained on it: findings, tables, and a report to open in "
      "a browser";
  tool.footer =
      "Examples:\n"
      "  wsp-qa DATASET                                   then open DATASET/qa/report.html\n"
      "  wsp-qa DATASET --rules ours.json --fail-on warning   again with other rules: no pixel is "
      "read twice\n"
      "  wsp-qa DATASET --baseline OTHER --ratings ratings.tsv\n\n"
      "Exit codes: 0 no finding at or above --fail-on, 3 findings, 1 failure, 2 usage, 4 no "
      "complete dataset, "
      "5 output not writable, 6 dataset corrupt, 130/143 interrupted (run again). Codes: "
      "docs/QA.md.";
  tool.declare = [&](CLI::App& app) { declare(app, options); };
  tool.run = [&](const wsp::CommonOptions& common) { return run(options, common.json); };
  return wsp::tool_main(argc, argv, tool);
}
