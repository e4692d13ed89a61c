#include <tbb/parallel_for.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/progress.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

class Verifier {
 public:
  explicit Verifier(const fs::path& root) : root_(root) {}

  std::vector<Finding> run() {
    if (!fs::is_directory(root_))
      throw Error(ErrorCode::no_input, "no dataset directory at " + root_.string());
    if (!fs::exists(root_ / "dataset.json")) {
      add(Code::FILE_MISSING, "dataset.json", "the dataset is incomplete: was the ingest interrupted?");
      return std::move(findings_);
    }
    if (!read_json("dataset.json", "dataset.schema.json", dataset_)) return std::move(findings_);
    check_files();
    check_pixels();
    check_cases();
    check_counts();
    std::sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) {
      return std::tie(a.code, a.where, a.detail) < std::tie(b.code, b.where, b.detail);
    });
    return std::move(findings_);
  }

 private:
  void add(Code code, const std::string& where, const std::string& detail) {
    const std::lock_guard lock(mutex_);
    findings_.push_back({code, where, detail});
  }

  bool read_json(const std::string& name, const char* schema, nlohmann::json& value) {
    try {
      value = load_json(root_ / name);
      for (const std::string& violation : schema_violations(schema, value))
        add(Code::SCHEMA_VIOLATION, name, violation);
      return value.is_object();
    } catch (const std::exception& e) {
      add(Code::SCHEMA_VIOLATION, name, e.what());
      return false;
    }
  }

  void check_files() {
    if (!dataset_.contains("files") || !dataset_["files"].is_object()) return;
    std::vector<std::pair<std::string, std::string>> listed;
    for (const auto& [name, hash] : dataset_["files"].items())
      if (hash.is_string()) listed.emplace_back(name, hash.get<std::string>());
    Progress progress("verify files", listed.size(), "files");
    tbb::parallel_for(std::size_t{0}, listed.size(), [&](std::size_t i) {
      const auto& [name, hash] = listed[i];
      if (!fs::is_regular_file(root_ / name))
        add(Code::FILE_MISSING, name, "named in dataset.json and absent");
      else if (hex(sha256_file(root_ / name)) != hash)
        add(Code::HASH_MISMATCH, name, "SHA-256 differs from dataset.json");
      progress.advance();
    });
    std::set<std::string> names;
    for (const auto& entry : listed) names.insert(entry.first);
    for (auto it = fs::recursive_directory_iterator(root_); it != fs::recursive_directory_iterator(); ++it) {
      const std::string name = fs::relative(it->path(), root_).generic_string();
      if (it->is_directory() && name == "qa") it.disable_recursion_pending();
      if (it->is_directory() || name == "run.json" || name == "dataset.json" || names.contains(name)) continue;
      add(Code::FILE_UNLISTED, name, "stands in the dataset and not in dataset.json");
    }
  }

  void check_pixels() {
    std::unique_ptr<DatasetReader> reader;
    try {
      reader = std::make_unique<DatasetReader>(root_);
    } catch (const Error& e) {
      add(Code::SHARD_CORRUPT, "index.h5", e.what());
      return;
    }
    cases_ = reader->cases();
    slices_ = reader->slices().size();
    Progress progress("verify slices", slices_, "slices");
    tbb::parallel_for(std::size_t{0}, slices_, [&](std::size_t i) {
      const IndexRow& row = reader->slices()[i];
      try {
        (void)reader->read_image(i);
        for (const std::uint8_t voxel : reader->read_mask(i))
          if (voxel > 1) throw Error(ErrorCode::corrupt, "a mask holds other values than 0 and 1");
      } catch (const Error& e) {
        add(Code::SHARD_CORRUPT, shard_file_name(row.shard), e.what());
      }
      progress.advance();
    });
    check_tables(*reader);
  }

  // Every column of a shard must say what the index says.
  void check_tables(const DatasetReader& reader) {
    std::size_t in_shards = 0;
    for (int shard = 0; shard < reader.layout().shards; ++shard) {
      const std::string name = shard_file_name(shard);
      try {
        h5::Handle file = h5::open_file(root_ / "shards" / name);
        const DatasetLayout layout = read_layout(file.get(), "wsp-shard");
        if (layout.label_names != reader.layout().label_names || layout.codec != reader.layout().codec ||
            layout.height != reader.layout().height || layout.width != reader.layout().width)
          add(Code::INDEX_MISMATCH, name, "the shard's layout differs from the index");
        const auto cases = read_tables(file.get(), layout, false);
        in_shards += cases.size();
        for (const CasePlaces& place : cases) compare(reader, name, place, shard);
      } catch (const Error& e) {
        add(Code::SHARD_CORRUPT, name, e.what());
      }
    }
    if (in_shards != reader.cases().size())
      add(Code::COUNT_MISMATCH, "index.h5", std::to_string(reader.cases().size()) + " cases in the index, " +
                                                std::to_string(in_shards) + " in the shards");
  }

  void compare(const DatasetReader& reader, const std::string& file, const CasePlaces& place, int shard) {
    const CaseRecord& r = place.record;
    const auto found = std::find_if(reader.cases().begin(), reader.cases().end(),
                                    [&](const IndexCase& c) { return c.name == r.name; });
    if (found == reader.cases().end())
      return add(Code::INDEX_MISMATCH, file, "case " + r.name + " is not in the index");
    if (shard_of(r.name, reader.layout().shards) != shard)
      add(Code::INDEX_MISMATCH, file, "case " + r.name + " belongs to another shard");
    if (found->subject != r.subject || found->split != r.split || found->labels != r.labels ||
        found->source_hash != r.source_hash ||
        found->slice_count != static_cast<std::int64_t>(r.slices.size()))
      return add(Code::INDEX_MISMATCH, file, "case " + r.name + " differs from the index");
    for (std::size_t s = 0; s < r.slices.size(); ++s) {
      const IndexRow& row = reader.slices()[static_cast<std::size_t>(found->first_slice) + s];
      const SliceRecord& slice = r.slices[s];
      const ChunkPlace& at = place.slices[s];
      if (row.z_mm != slice.z_mm || row.depth_kept != slice.depth_kept || row.depth_liver != slice.depth_liver ||
          row.depth_volume != slice.depth_volume || row.source_index != slice.source_index ||
          row.liver_area_mm2 != slice.liver_area_mm2 || row.place.image_offset != at.image_offset ||
          row.place.image_xxh3 != at.image_xxh3 || row.place.mask_offset != at.mask_offset ||
          row.place.mask_xxh3 != at.mask_xxh3)
        add(Code::INDEX_MISMATCH, file, "case " + r.name + ", slice " + std::to_string(slice.source_index));
    }
  }

  void check_cases() {
    for (const IndexCase& entry : cases_) {
      const std::string name = "cases/" + entry.name + ".json";
      nlohmann::json value;
      if (!fs::exists(root_ / name)) {
        add(Code::FILE_MISSING, name, "a case of the index has no JSON");
        continue;
      }
      if (!read_json(name, "case.schema.json", value)) continue;
      if (value.value("name", "") != entry.name || value.value("subject", "") != entry.subject ||
          value.value("source_hash", "") != entry.source_hash)
        add(Code::INDEX_MISMATCH, name, "names another case, subject or source than the index");
    }
  }

  void check_counts() {
    const auto counts = dataset_.value("counts", nlohmann::json::object());
    const auto expect = [&](const char* what, std::size_t found) {
      if (!counts.contains(what)) return;
      if (counts[what] != found)
        add(Code::COUNT_MISMATCH, "dataset.json",
            std::string(what) + ": " + counts[what].dump() + " stated, " + std::to_string(found) + " found");
    };
    std::set<std::string> subjects;
    for (const IndexCase& entry : cases_) subjects.insert(entry.subject);
    expect("cases", cases_.size());
    expect("slices", slices_);
    expect("subjects", subjects.size());
    std::ifstream ledger(root_ / "ledger.tsv");
    if (!ledger) return;
    std::size_t rows = 0;
    std::string line;
    std::getline(ledger, line);
    while (std::getline(ledger, line)) {
      ++rows;
      const std::size_t tab = line.find('\t');
      const std::size_t end = line.find('\t', tab + 1);
      if (tab == std::string::npos || !parse_code(line.substr(tab + 1, end - tab - 1)))
        add(Code::SCHEMA_VIOLATION, "ledger.tsv", "row " + std::to_string(rows) + " has no known code");
    }
    expect("files", rows);
  }

  fs::path root_;
  std::mutex mutex_;
  std::vector<Finding> findings_;
  nlohmann::json dataset_;
  std::vector<IndexCase> cases_;
  std::size_t slices_ = 0;
};

}  // namespace

std::vector<Finding> verify_dataset(const fs::path& dataset) { return Verifier(dataset).run(); }

}  // namespace wsp
