#include "preprocess/report/report.hpp"

#include <tbb/parallel_for.h>

#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/directory_lock.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/report/baseline.hpp"
#include "preprocess/report/cohort.hpp"
#include "preprocess/report/depth_audit.hpp"
#include "preprocess/report/judge.hpp"
#include "preprocess/report/page.hpp"
#include "preprocess/report/pixel_pass.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void make_place(const fs::path& qa) {
  std::error_code ec;
  for (const char* part : {"cases", "pictures"}) {
    fs::create_directories(qa / part, ec);
    if (ec)
      throw Error(ErrorCode::output, "cannot create " + (qa / part).string() + ": " + ec.message() +
                                         ". Choose an --out that you may write to");
  }
}

// Files of cases that the dataset no longer holds.
void remove_strangers(const fs::path& qa, const std::vector<CaseFacts>& cases) {
  std::set<std::string> expected;
  for (const CaseFacts& f : cases) {
    expected.insert(f.name + ".json");
    expected.insert(f.name + "-strip.png");
    expected.insert(f.name + "-thumb.png");
  }
  std::error_code ec;
  for (const char* part : {"cases", "pictures"})
    for (const auto& entry : fs::directory_iterator(qa / part, ec))
      if (!expected.contains(entry.path().filename().string())) fs::remove(entry.path(), ec);
}

std::vector<CaseFacts> read_all_facts(const fs::path& dataset, const DatasetReader& reader) {
  std::vector<CaseFacts> cases(reader.cases().size());
  tbb::parallel_for(std::size_t{0}, cases.size(),
                    [&](std::size_t c) { cases[c] = read_case_facts(dataset, reader, c); });
  return cases;
}

void write_cases(const fs::path& qa, const std::vector<CaseFacts>& cases, const DepthAudit& audit,
                 const std::vector<std::string>& label_names,
                 const std::vector<Finding>& findings) {
  std::map<std::string, json> of_case;
  for (const Finding& f : findings) of_case[f.case_name].push_back(to_json(f));
  tbb::parallel_for(std::size_t{0}, cases.size(), [&](std::size_t c) {
    json j = to_json(cases[c], label_names);
    const CaseDepth& depth = audit.cases[c];
    j["depth"] = {{"judged", depth.judged},
                  {"correlation", depth.correlation},
                  {"rmse", depth.rmse},
                  {"liver_shape", depth.shape}};
    const auto found = of_case.find(cases[c].name);
    j["findings"] = found == of_case.end() ? json::array() : found->second;
    write_file_unsynced(qa / "cases" / (cases[c].name + ".json"), j.dump(1) + "\n");
  });
  sync_filesystem(qa);
}

std::vector<std::string> names_of(const std::vector<CaseFacts>& cases) {
  std::vector<std::string> names;
  for (const CaseFacts& f : cases) names.push_back(f.name);
  return names;
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

}  // namespace

std::map<std::string, std::string> load_ratings(const fs::path& tsv) {
  std::error_code ec;
  if (!fs::is_regular_file(tsv, ec))
    throw Error(ErrorCode::usage, "--ratings: no file at " + tsv.string());
  const CsvTable table = parse_csv(read_file(tsv), tsv.string());
  const std::vector<std::string> expected{"case", "rating"};
  if (table.header != expected)
    throw Error(ErrorCode::usage,
                tsv.string() + ": expected the columns case and rating, as the page saves them");
  std::map<std::string, std::string> ratings;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string& rating = table.rows[r][1];
    if (rating != "good" && rating != "usable" && rating != "exclude")
      throw Error(ErrorCode::usage, tsv.string() + ", " + table.place(r) + ": '" + rating +
                                        "' is no rating; expected good, usable or exclude");
    ratings[table.rows[r][0]] = rating;
  }
  return ratings;
}

QaSummary run_qa(const QaOptions& options) {
  // 1. What can be wrong with the request is found before anything is read or written.
  const Rules rules = load_rules(options.rules);
  std::optional<Baseline> baseline;
  if (options.baseline) baseline = load_baseline(*options.baseline);
  const auto ratings =
      options.ratings ? load_ratings(*options.ratings) : std::map<std::string, std::string>{};
  const DatasetReader reader(options.dataset);
  const auto& labels = reader.layout().label_names;
  if (reader.cases().empty())
    throw Error(ErrorCode::no_input, "the dataset holds no case; quarantine.tsv says why");

  // 2. What is known of the cases, and where the files went.
  std::vector<CaseFacts> cases = read_all_facts(options.dataset, reader);
  const LedgerAccount account = account_for_files(options.dataset, names_of(cases));

  // 3. The pixels, once.
  const fs::path qa = options.out.value_or(options.dataset / "qa");
  make_place(qa);
  const DirectoryLock lock(qa);
  const PassSummary pass = run_pixel_pass(options.dataset, reader, qa, options.fresh, cases);

  // 4. Judgement.
  const DepthAudit audit = audit_depth(reader, cases);
  Judge judge(rules);
  for (std::size_t c = 0; c < cases.size(); ++c) judge_case(cases[c], audit.cases[c], audit, judge);
  judge_duplicates(cases, baseline ? volumes_of(*baseline) : std::vector<KnownVolume>{}, judge);
  judge_cohort(cases, labels, judge);
  judge_ledger(account, cases.size(), judge);
  judge_ratings(ratings, cases, judge);
  const json drift = baseline ? compare(cases, labels, *baseline, judge) : json::array();
  const std::vector<Finding> findings = judge.take();

  // 5. Files; the page last.
  remove_strangers(qa, cases);
  write_cases(qa, cases, audit, labels, findings);
  const std::string group = group_table(cases, audit.cases, labels, findings);
  write_file_atomic(qa / "group.tsv", group);
  const json print = fingerprint(cases, labels, audit);
  write_file_atomic(qa / "dataset_fingerprint.json", print.dump(1) + "\n");
  std::string lines;
  for (const Finding& f : findings) lines += to_json(f).dump() + "\n";
  write_file_atomic(qa / "findings.jsonl", lines);
  const json dataset = load_json(options.dataset / "dataset.json");
  write_file_atomic(
      qa / "croissant.json",
      croissant(dataset, options.publication, labels, hex(sha256(group))).dump(1) + "\n");
  write_file_atomic(qa / "dataset_card.md",
                    dataset_card(dataset, options.publication, print, account, findings));
  write_file_atomic(qa / "report.html",
                    make_page({cases, labels, audit, findings, account, print, drift, ratings,
                               options.dataset, qa, options.publication.title, options.tool_version,
                               options.embed_bytes}));
  QaSummary summary = summarise(cases, pass, findings, audit);
  summary.report = qa / "report.html";
  return summary;
}

}  // namespace wsp::qa
