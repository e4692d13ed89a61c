#include "preprocess/pipeline/merge.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/progress.hpp"
#include "io/core/tabs.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/state.hpp"
#include "preprocess/pipeline/comparison.hpp"
#include "preprocess/pipeline/ledger.hpp"
#include "preprocess/pipeline/output.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct PartDataset {
  fs::path path, state;
  Json description;                          ///< dataset.json
  Json run;                                  ///< run.json
  std::map<std::string, std::string> files;  ///< of dataset.json
  Part part;
};

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::usage, why); }

// A file of a part whose bytes are those that dataset.json vouches for.
std::string read_listed(const PartDataset& part, const std::string& name) {
  try {
    return wsp::read_listed(part.state, part.files, name);
  } catch (const Error& e) {
    throw Error(ErrorCode::corrupt, "part " + part.part.text() + ": " + e.what() +
                                        "; run wsp-ingest verify, then make the part again");
  }
}

PartDataset open_part(const fs::path& path) {
  PartDataset part{path, state_directory(path), load_json(path / "dataset.json"), {}, {}, {}};
  part.description.at("files").get_to(part.files);
  const auto told = part.description.find("part");
  if (told == part.description.end())
    refuse(path.string() + " is no part of a dataset: expected one made with wsp-ingest --part");
  part.part = {told->at("number").get<int>(), told->at("of").get<int>()};
  part.run = load_json(part.state / "run.json");
  return part;
}

// All parts, each once, of one run's options; in their order.
std::vector<PartDataset> open_parts(const std::vector<fs::path>& paths) {
  std::vector<PartDataset> parts;
  for (const fs::path& path : paths) parts.push_back(open_part(path));
  std::sort(parts.begin(), parts.end(), [](const PartDataset& a, const PartDataset& b) {
    return a.part.number < b.part.number;
  });
  const PartDataset& first = parts.front();
  std::string missing;
  for (int number = 1; number <= first.part.of; ++number) {
    const auto count = std::count_if(parts.begin(), parts.end(), [&](const PartDataset& p) {
      return p.part.number == number && p.part.of == first.part.of;
    });
    if (count > 1) refuse("part " + std::to_string(number) + " is given twice");
    if (count == 0) missing += (missing.empty() ? "" : ", ") + std::to_string(number);
  }
  for (const PartDataset& part : parts) {
    if (part.part.of != first.part.of)
      refuse("parts " + first.part.text() + " and " + part.part.text() +
             " are not of one division");
    for (const char* what :
         {"config", "label_names", "continuous_names", "words", "layout", "tool_version"})
      if (part.description.value(what, Json()) != first.description.value(what, Json()))
        refuse("parts " + first.part.text() + " and " + part.part.text() +
               " were made with other options or another version: " + what +
               " of their dataset.json differs; make them again with the same command");
    for (const char* what : {"config_hash", "site_key", "labels"})
      if (part.run.value(what, Json()) != first.run.value(what, Json()))
        refuse(
            "parts " + first.part.text() + " and " + part.part.text() +
            " were made with another site key or label table; make them again with the same one");
  }
  if (!missing.empty())
    refuse("of " + std::to_string(first.part.of) + " parts these are missing: " + missing);
  return parts;
}

// One ledger of all: each file's row from the part that it falls to, which is the same in all where
// it is no case's.
std::vector<LedgerRow> join_ledgers(const std::vector<PartDataset>& parts) {
  std::map<std::string, Disposition> rows;
  std::set<std::string> told;  // by a part that has the file
  for (const PartDataset& part : parts) {
    std::istringstream text(read_listed(part, "ledger.tsv"));
    std::string line;
    std::getline(text, line);
    std::size_t count = 0;
    while (std::getline(text, line)) {
      const auto cells = split_tabs(line);
      const auto code = cells.size() == 5 ? parse_code(cells[1]) : std::nullopt;
      if (!code)
        throw Error(ErrorCode::corrupt, "part " + part.part.text() + ": a row of the ledger");
      ++count;
      if (*code == Code::OTHER_PART) {
        rows.emplace(cells[0], Disposition{*code, "", ""});
        continue;
      }
      Disposition here{*code, cells[3], cells[4]};
      const bool first = told.insert(cells[0]).second;
      Disposition& row = rows[cells[0]];
      if (!first && (row.code != here.code || row.case_name != here.case_name))
        refuse("part " + part.part.text() +
               " says other things of a file than the part before it: "
               "the export changed between them; make the parts again");
      row = std::move(here);
    }
    if (count != rows.size())
      refuse("part " + part.part.text() + " saw " + std::to_string(count) + " of " +
             std::to_string(rows.size()) +
             " files: the export changed between the parts; make them again");
  }
  if (told.size() != rows.size())
    refuse(std::to_string(rows.size() - told.size()) +
           " files belong to no part: the export changed between the parts; make them again");
  std::vector<LedgerRow> joined;
  for (auto& [path, disposition] : rows) joined.push_back({path, std::move(disposition)});
  return joined;
}

// Lines that every part has, or one alone.
std::string join_quarantines(const std::vector<PartDataset>& parts, std::size_t& cases) {
  std::map<std::string, std::size_t> lines;
  std::string header;
  for (const PartDataset& part : parts) {
    std::istringstream text(read_listed(part, "quarantine.tsv"));
    std::getline(text, header);
    std::map<std::string, std::size_t> here;
    for (std::string line; std::getline(text, line);) ++here[line];
    for (const auto& [line, count] : here) lines[line] = std::max(lines[line], count);
  }
  std::string joined = header + '\n';
  for (const auto& [line, count] : lines)
    for (std::size_t i = 0; i < count; ++i) {
      joined += line + '\n';
      cases += line.starts_with("case\t") ? 1 : 0;
    }
  return joined;
}

DatasetLayout layout_of(const Json& description) {
  DatasetLayout layout;
  const Json& stated = description.at("layout");
  layout.height = stated.at("height").get<std::int64_t>();
  layout.width = stated.at("width").get<std::int64_t>();
  layout.shards = stated.at("shards").get<int>();
  layout.codec = parse_codec(stated.at("codec").get<std::string>());
  layout.label_names = description.at("label_names").get<std::vector<std::string>>();
  layout.continuous_names = description.value("continuous_names", std::vector<std::string>());
  layout.tool_version = description.value("tool_version", "");
  return layout;
}

class Merge {
 public:
  Merge(std::vector<PartDataset> parts, OutputDirectory& output)
      : parts_(std::move(parts)), output_(output), layout_(layout_of(parts_.front().description)) {}

  MergeSummary run() {
    // What the parts say of the files decides whether they fit: before anything is written.
    const auto rows = join_ledgers(parts_);
    std::size_t quarantined = 0;
    const std::string quarantine = join_quarantines(parts_, quarantined);
    output_.claim();
    Progress progress("merge", static_cast<std::size_t>(layout_.shards), "shards");
    for (int shard = 0; shard < layout_.shards; ++shard) {
      stop_if_interrupted("run the same command again");
      copy_shard(shard);
      progress.advance();
    }
    progress.finish();
    check_counts();
    remove_others();
    sync_filesystem(output_.next());
    write_index(output_.next(), std::move(places_), layout_);
    write_file_atomic(output_.next() / "ledger.tsv", ledger_text(rows));
    write_file_atomic(output_.next() / "quarantine.tsv", quarantine);
    std::sort(comparisons_.begin(), comparisons_.end(),
              [](const auto& a, const auto& b) { return a.case_name < b.case_name; });
    if (parts_.front().description.at("config").value("compare_masks", false))
      write_file_atomic(output_.next() / kComparisonFile, comparison_text(comparisons_));
    summary_.parts = parts_.size();
    summary_.files = rows.size();
    summary_.quarantined_cases = quarantined;
    summary_.cases = names_.size();
    summary_.subjects = subjects_.size();
    output_.commit(fields(rows), layout_);
    return summary_;
  }

 private:
  void copy_shard(int shard) {
    std::vector<CaseRecord> records;
    for (const PartDataset& part : parts_)
      for (CaseRecord& record : read_shard_cases(part.state, shard)) {
        const auto take = [&](const std::string& name) {
          std::string bytes = read_listed(part, name);
          write_file_unsynced(output_.next() / name, bytes);
          return bytes;
        };
        if (!names_.insert(record.name).second)
          refuse("case " + record.name + " stands in two parts; make the parts again");
        const Json provenance = Json::parse(take("cases/" + record.name + ".json"));
        if (provenance.at("source_hash") != record.source_hash)
          throw Error(ErrorCode::corrupt,
                      "part " + part.part.text() + ": case " + record.name +
                          " and its JSON are not of one run; run wsp-ingest verify");
        if (auto row = comparison_of(provenance)) comparisons_.push_back(std::move(*row));
        take("previews/" + record.name + ".png");
        count(record);
        ++found_[part.part.number];
        records.push_back(std::move(record));
      }
    auto places = write_shard(output_.next(), shard, std::move(records), layout_);
    std::move(places.begin(), places.end(), std::back_inserter(places_));
  }

  void count(const CaseRecord& record) {
    subjects_.insert(record.subject);
    summary_.slices += record.slices.size();
    for (const Code flag : record.flags) ++flags_[std::string(to_string(flag))];
    for (std::size_t l = 0; l < record.labels.size(); ++l) {
      auto& tally = classes_[layout_.label_names.at(l)][std::to_string(record.labels[l])];
      ++tally["cases"];
      tally["slices"] += record.slices.size();
    }
  }

  // A shard of an earlier state of a part is sound by itself, and lacks cases.
  void check_counts() {
    for (const PartDataset& part : parts_)
      if (part.description.at("counts").at("cases") != found_[part.part.number])
        throw Error(ErrorCode::corrupt,
                    "part " + part.part.text() + ": its shards hold " +
                        std::to_string(found_[part.part.number]) +
                        " cases, dataset.json counts others; run wsp-ingest verify, then make the "
                        "part again");
  }

  // What an interrupted merge of other parts left.
  void remove_others() const {
    for (const char* part : {"cases", "previews"})
      for (const auto& entry : fs::directory_iterator(output_.next() / part))
        if (!names_.contains(entry.path().stem().string())) fs::remove(entry.path());
  }

  [[nodiscard]] Json fields(const std::vector<LedgerRow>& rows) const {
    std::map<std::string, std::size_t> dispositions;
    for (const LedgerRow& row : rows) ++dispositions[std::string(to_string(row.disposition.code))];
    // The label table and the pins were matched with all cases in each part.
    Json counts = parts_.front().description.at("counts");
    counts["files"] = rows.size();
    counts["cases"] = summary_.cases;
    counts["subjects"] = summary_.subjects;
    counts["slices"] = summary_.slices;
    counts["quarantined_cases"] = summary_.quarantined_cases;
    return {{"config", parts_.front().description.at("config")},
            {"counts", counts},
            {"classes", classes_},
            {"words", parts_.front().description.at("words")},
            {"dispositions", dispositions},
            {"flags", flags_}};
  }

  std::vector<PartDataset> parts_;
  OutputDirectory& output_;
  DatasetLayout layout_;
  std::vector<CasePlaces> places_;
  std::set<std::string> names_, subjects_;
  std::map<int, std::size_t> found_;  // cases by part
  std::map<std::string, std::size_t> flags_;
  std::map<std::string, std::map<std::string, std::map<std::string, std::size_t>>> classes_;
  std::vector<MaskComparisonRow> comparisons_;
  MergeSummary summary_;
};

}  // namespace

MergeSummary merge_parts(const fs::path& out, const std::vector<fs::path>& paths,
                         const std::string& tool_version, bool force) {
  std::vector<PartDataset> parts = open_parts(paths);
  std::error_code ec;
  for (const PartDataset& part : parts)
    if (fs::equivalent(part.path, out, ec)) refuse("--out is one of the parts");
  const Json& run = parts.front().run;
  // As the same command without --part would find it, so that an update may go on from it.
  OutputDirectory output(
      out,
      {run.value("config_hash", ""), run.value("site_key", ""), run.value("labels", false), ""},
      tool_version, force);
  return Merge(std::move(parts), output).run();
}

}  // namespace wsp
