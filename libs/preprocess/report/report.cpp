#include "preprocess/report/report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/directory_lock.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/parallel.hpp"
#include "io/manifest/manifest.hpp"
#include "io/manifest/ratings.hpp"
#include "preprocess/report/baseline.hpp"
#include "preprocess/report/cohort.hpp"
#include "preprocess/report/depth_audit.hpp"
#include "preprocess/report/judge.hpp"
#include "preprocess/report/page.hpp"
#include "preprocess/report/pixel_pass.hpp"
#include "preprocess/report/place.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<CaseFacts> read_all_facts(const DatasetReader& reader) {
  std::vector<CaseFacts> cases(reader.cases().size());
  wsp::parallel_loop(std::size_t{0}, cases.size(),
                     [&](std::size_t c) { cases[c] = read_case_facts(reader, c); });
  return cases;
}

void write_cases(const fs::path& qa, const std::vector<CaseFacts>& cases, const DepthAudit& audit,
                 const std::vector<std::string>& label_names,
                 const std::vector<Finding>& findings) {
  std::map<std::string, json> of_case;
  for (const Finding& f : findings) of_case[f.case_name].push_back(to_json(f));
  wsp::parallel_loop(std::size_t{0}, cases.size(), [&](std::size_t c) {
    json j = to_json(cases[c], label_names);
    const CaseDepth& depth = audit.cases[c];
    j["depth"] = {{"judged", depth.judged},
                  {"correlation", depth.correlation},
                  {"rmse", depth.rmse},
                  {"liver_shape", depth.shape}};
    const auto found = of_case.find(cases[c].name);
    j["findings"] = found == of_case.end() ? json::array() : found->second;
    write_file_unsynced(qa / "cases" / (cases[c].name + ".json"), json_text(j, 1) + "\n");
  });
  sync_filesystem(qa);
}

// Of the configuration; null for the liver.
json organ_of(const json& dataset) {
  return dataset.value("config", json::object()).value("organ", json::object());
}

// What the ingest was asked for; a broken dataset.json is DatasetReader's to refuse.
DatasetKind kind_of(const json& dataset, const std::vector<CaseFacts>& cases) {
  DatasetKind kind;
  kind.organ = organ_of(dataset).value("name", kind.organ);
  kind.all_slices = dataset.value("config", json::object()).value("slices", "") == "all";
  // The ingest flags a case without a row only where there was a table.
  kind.without_labels =
      dataset.value("counts", json::object()).value("label_rows", std::int64_t{0}) == 0 &&
      std::all_of(cases.begin(), cases.end(), [](const CaseFacts& f) {
        return std::all_of(f.labels.begin(), f.labels.end(),
                           [](auto label) { return label < 0; }) &&
               !has_flag(f.flags, Code::LABEL_MISSING);
      });
  return kind;
}

std::vector<std::string> names_of(const std::vector<CaseFacts>& cases) {
  std::vector<std::string> names;
  for (const CaseFacts& f : cases) names.push_back(f.name);
  return names;
}

// The way from one directory to another, for links.
std::string link(const fs::path& to, const fs::path& from) {
  std::error_code ec;
  return fs::relative(to, from, ec).generic_string();
}

// Previews that dataset.json lists and nobody finds.
std::size_t previews_missing(const fs::path& root, const json& dataset) {
  std::size_t missing = 0;
  std::error_code ec;
  for (const auto& [name, hash] : dataset.at("files").items())
    if (name.starts_with("previews/") && !fs::exists(root / name, ec)) ++missing;
  return missing;
}

QaSummary summarise(const std::vector<CaseFacts>& cases, const PassSummary& pass,
                    const std::vector<Finding>& findings, const DepthAudit& audit) {
  QaSummary s;
  s.cases = cases.size();
  std::set<std::string> subjects;
  for (const CaseFacts& f : cases) subjects.insert(f.subject);
  s.subjects = subjects.size();
  s.read = pass.read;
  s.taken = pass.taken;
  for (const Finding& f : findings) {
    ++(f.severity == Severity::error ? s.errors : s.warnings);
    ++s.codes[std::string(to_string(f.code))];
  }
  s.depth = audit.recommended;
  s.depth_reason = audit.reason;
  return s;
}

// All files of a report; the page last.
void write_files(const PageInputs& in, const json& dataset, const Publication& publication) {
  write_cases(in.qa, in.cases, in.audit, in.label_names, in.findings);
  const std::string group = group_table(in.cases, in.audit.cases, in.label_names, in.findings);
  write_file_atomic(in.qa / "group.tsv", group);
  write_file_atomic(in.qa / "dataset_fingerprint.json", json_text(in.fingerprint, 1) + "\n");
  std::string lines;
  for (const Finding& f : in.findings) lines += json_text(to_json(f)) + "\n";
  write_file_atomic(in.qa / "findings.jsonl", lines);
  write_file_atomic(in.qa / "croissant.json",
                    json_text(croissant(dataset, publication, in.label_names, hex(sha256(group)),
                                        link(in.state, in.qa)),
                              1) +
                        "\n");
  write_file_atomic(in.qa / "dataset_card.md",
                    dataset_card(dataset, publication, in.fingerprint, in.account, in.findings));
  write_file_atomic(in.qa / "report.html", make_page(in));
}

}  // namespace

QaSummary run_qa(const QaOptions& options) {
  // 1. What can be wrong with the request is found before anything is read or written.
  const fs::path qa = options.out.value_or(options.dataset / "qa");
  check_place(qa, options.force);
  check_publication(options.publication);
  std::optional<Baseline> baseline;
  if (options.baseline) baseline = load_baseline(*options.baseline);
  const auto ratings = options.ratings ? load_ratings(*options.ratings, "--ratings") : Ratings{};
  const DatasetReader reader(options.dataset);
  const json dataset = load_json(options.dataset / "dataset.json");
  const Rules rules = load_rules(options.rules, organ_of(dataset));
  const auto& labels = reader.layout().label_names;
  if (reader.cases().empty())
    throw Error(ErrorCode::no_input, "the dataset holds no case; quarantine.tsv says why");

  // 2. What is known of the cases, and where the files went.
  std::vector<CaseFacts> cases = read_all_facts(reader);
  const auto names = names_of(cases);
  const LedgerAccount account = account_for_files(options.dataset, reader.state(), names);
  reader.check_current();

  // 3. The pixels, once.
  make_place(qa);
  const DirectoryLock lock(qa);
  remove_strangers(qa, {names.begin(), names.end()});
  const PassSummary pass =
      run_pixel_pass(options.dataset, reader, qa, options.fresh, options.slice_side, cases);

  // 4. Judgement.
  const DepthAudit audit = audit_depth(reader, cases);
  Judge judge(rules);
  const DatasetKind kind = kind_of(dataset, cases);
  for (std::size_t c = 0; c < cases.size(); ++c)
    judge_case(cases[c], audit.cases[c], audit, kind, judge);
  judge_duplicates(cases, baseline ? volumes_of(*baseline) : std::vector<KnownVolume>{}, judge);
  judge_cohort(cases, labels, kind, judge);
  judge_ledger(account, cases.size(), judge);
  judge_ratings(ratings, cases, judge);
  const json drift = baseline ? compare(cases, labels, *baseline, judge) : json::array();
  const std::vector<Finding> findings = judge.take();

  // 5. Files.
  const json print = fingerprint(cases, labels, audit);
  write_files(
      {cases, labels, audit, findings, account, print, drift, ratings, reader.state(), qa,
       options.publication.title, options.tool_version, options.embed_bytes, options.slice_side},
      dataset, options.publication);
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  QaSummary summary = summarise(cases, pass, findings, audit);
  summary.with_baseline = baseline.has_value();
  summary.report = qa / "report.html";
  summary.page_bytes = fs::file_size(summary.report);
  for (const char* part : {"pictures", "slices"})
    for (const auto& entry : fs::directory_iterator(qa / part))
      summary.beside_bytes += entry.file_size();
  for (const json& row : drift) {
    ++summary.baseline_tests;
    summary.baseline_drifts += row.at("drift").get<bool>() ? 1 : 0;
  }
  for (const auto& [name, rating] : ratings)
    if (!std::binary_search(sorted.begin(), sorted.end(), name))
      summary.unmatched_ratings.push_back(name);
  summary.ratings = ratings.size();
  reader.check_current();
  summary.missing_previews = previews_missing(reader.state(), dataset);
  return summary;
}

}  // namespace wsp::qa
