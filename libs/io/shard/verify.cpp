#include "io/shard/verify.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"
#include "io/shard/shard_file.hpp"
#include "io/shard/state.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

class Verifier {
 public:
  explicit Verifier(const fs::path& root) : root_(root) {}

  std::vector<Finding> run() {
    std::error_code ec;
    if (!fs::is_directory(root_, ec))
      throw Error(ErrorCode::no_input, "no dataset directory at " + root_.string());
    (void)fs::directory_iterator(root_, ec);
    if (ec) throw Error(ErrorCode::no_input, "cannot read " + root_.string() + ": " + ec.message());
    if (!fs::is_regular_file(root_ / "dataset.json", ec)) {
      findings_.add(Code::FILE_MISSING, "dataset.json",
                    "the dataset is incomplete: was the ingest interrupted?");
      return findings_.take();
    }
    dataset_ = read_checked_json(root_, "dataset.json", "dataset.schema.json", findings_);
    if (!dataset_.is_object()) return findings_.take();
    try {
      state_ = state_directory(root_);
    } catch (const Error& e) {
      findings_.add(Code::FILE_MISSING, "dataset.json", e.what());
      return findings_.take();
    }
    // 1. The bytes: HDF5 is shown only files that dataset.json vouches for.
    guarded("files", [&] { check_files(); });
    if (!sound("index.h5")) {
      findings_.add(Code::SHARD_CORRUPT, "index.h5",
                    "slices and counts cannot be checked without a sound index");
      return findings_.take();
    }
    // 2. The index, the pixels that it points at, and the shards' own tables.
    bool usable = false;
    guarded("index.h5", [&] { check_index(), usable = true; });
    if (!usable) return findings_.take();
    for (int shard = 0; shard < layout_.shards; ++shard) {
      stop_if_interrupted("nothing was changed");
      guarded(shard_name(shard), [&] { check_shard(shard); });
    }
    guarded("slices", [&] { check_pixels(); });
    // 3. What the other files say about them.
    guarded("counts", [&] { verify_counts(state_, dataset_, layout_, cases_, findings_); });
    return findings_.take();
  }

 private:
  static std::string shard_name(int shard) { return "shards/" + shard_file_name(shard); }

  void guarded(const std::string& where, const std::function<void()>& check) {
    try {
      check();
    } catch (const Error& e) {
      if (e.code() == ErrorCode::interrupted) throw;
      findings_.add(Code::SHARD_CORRUPT, where, e.what());
    } catch (const std::exception& e) {
      findings_.add(Code::SHARD_CORRUPT, where, e.what());
    }
  }

  [[nodiscard]] bool sound(const std::string& name) const { return sound_.contains(name); }

  void check_files() {
    const nlohmann::json files = dataset_.value("files", nlohmann::json::object());
    std::vector<std::pair<std::string, std::string>> listed;
    std::set<std::string> names;
    for (const auto& [name, hash] : files.items()) {
      if (!hash.is_string()) continue;
      const fs::path path(name);
      const bool inside = !name.empty() && path.is_relative() && path.lexically_normal() == path &&
                          *path.begin() != "..";
      if (!inside) {
        findings_.add(Code::SCHEMA_VIOLATION, "dataset.json",
                      "a listed file lies outside the dataset");
        continue;
      }
      listed.emplace_back(name, hash.get<std::string>());
      names.insert(name);
    }
    Progress progress("verify files", listed.size(), "files");
    std::mutex mutex;
    wsp::parallel_loop(std::size_t{0}, listed.size(), [&](std::size_t i) {
      stop_if_interrupted("nothing was changed");
      const auto& [name, hash] = listed[i];
      guarded(name, [&, n = &name, h = &hash] {
        if (!fs::is_regular_file(state_ / *n)) {
          findings_.add(Code::FILE_MISSING, *n, "named in dataset.json and absent");
        } else if (hex(sha256_file(state_ / *n)) != *h) {
          findings_.add(Code::HASH_MISMATCH, *n, "SHA-256 differs from dataset.json");
        } else {
          const std::lock_guard lock(mutex);
          sound_.insert(*n);
        }
      });
      progress.advance();
    });
    find_unlisted(names);
  }

  void find_unlisted(const std::set<std::string>& names) {
    std::set<fs::path> not_ours{root_ / "qa"};  // folders
    for (const fs::path& path : unnamed_states(root_)) {
      not_ours.insert(path);
      log::info(path.filename().string() +
                " was left by an update that did not end: no part of the "
                "dataset; the next ingest goes on with it or removes it");
    }
    const auto walk = [&](const fs::path& root) {
      for (auto it = fs::recursive_directory_iterator(root);
           it != fs::recursive_directory_iterator(); ++it) {
        const std::string name = fs::relative(it->path(), root).generic_string();
        if (it->is_directory() && !it->is_symlink()) {
          if (not_ours.contains(it->path())) it.disable_recursion_pending();
        } else if (it->path() != root_ / "dataset.json" && it->path() != state_ / "run.json" &&
                   it->path() != root_ / "dataset.json.tmp" &&  // of an update that was killed
                   !(root == state_ && names.contains(name))) {
          findings_.add(Code::FILE_UNLISTED, name, "stands in the dataset and not in dataset.json");
        }
      }
    };
    walk(state_);
    if (state_ == root_) return;
    not_ours.insert(state_);
    walk(root_);
  }

  void check_index() {
    {
      const auto lock = h5::exclusive();
      h5::Handle file = h5::open_file(state_ / "index.h5");
      layout_ = read_layout(file.get(), "wsp-dataset");
      cases_ = read_tables(file.get(), layout_);
      check_subjects(file.get(), cases_);
    }
    const auto stated = dataset_.value("layout", nlohmann::json::object());
    const nlohmann::json found{{"height", layout_.height},
                               {"width", layout_.width},
                               {"shards", layout_.shards},
                               {"codec", to_string(layout_.codec)}};
    for (const auto& [key, value] : found.items())
      if (!stated.is_object() || stated.value(key, nlohmann::json()) != value)
        findings_.add(Code::INDEX_MISMATCH, "dataset.json",
                      "layout/" + key + " differs from the index");
    if (dataset_.value("label_names", nlohmann::json()) != nlohmann::json(layout_.label_names))
      findings_.add(Code::INDEX_MISMATCH, "dataset.json", "label_names differ from the index");
    if (dataset_.value("continuous_names", nlohmann::json::array()) !=
        nlohmann::json(layout_.continuous_names))
      findings_.add(Code::INDEX_MISMATCH, "dataset.json", "continuous_names differ from the index");
    for (const CasePlaces& place : cases_) check_values(place);
  }

  void check_values(const CasePlaces& place) {
    const CaseRecord& record = place.record;
    const auto unit = [](double depth) { return depth >= 0 && depth <= 1; };
    if (shard_of(record.name, layout_.shards) != place.shard)
      findings_.add(Code::INDEX_MISMATCH, "index.h5",
                    "case " + record.name + " belongs to another shard");
    for (std::size_t s = 0; s < record.slices.size(); ++s) {
      const SliceRecord& slice = record.slices[s];
      const bool ordered = s == 0 || slice.z_mm > record.slices[s - 1].z_mm;
      if (!ordered || !unit(slice.depth_kept) || !unit(slice.depth_volume))
        findings_.add(Code::INDEX_MISMATCH, "index.h5",
                      "case " + record.name + ", slice " + std::to_string(slice.source_index) +
                          ": z_mm must rise and depths lie in 0 to 1");
    }
  }

  // A shard must say what the index says, and HDF5 must find each chunk where the index points.
  void check_shard(int shard) {
    const std::string name = shard_name(shard);
    if (!sound(name)) {
      // A missing or changed file is a finding already, unless dataset.json does not list it.
      if (!fs::exists(state_ / name))
        findings_.add(Code::FILE_MISSING, name, "the index counts this shard");
      return;
    }
    const auto lock = h5::exclusive();
    h5::Handle file = h5::open_file(state_ / name);
    if (const auto what = difference(layout_, read_layout(file.get(), "wsp-shard")); !what.empty())
      findings_.add(Code::INDEX_MISMATCH, name, what + " differs from the index");
    if (h5::read_integer_attribute(file.get(), "shard") != shard)
      findings_.add(Code::INDEX_MISMATCH, name, "the file is another shard");
    const auto found = read_tables(file.get(), layout_);
    const auto first =
        std::find_if(cases_.begin(), cases_.end(), [&](const auto& c) { return c.shard == shard; });
    const auto last =
        std::find_if(first, cases_.end(), [&](const auto& c) { return c.shard != shard; });
    if (static_cast<std::size_t>(last - first) != found.size()) {
      findings_.add(Code::COUNT_MISMATCH, name,
                    std::to_string(found.size()) + " cases in the shard, " +
                        std::to_string(last - first) + " in the index");
      return;
    }
    const h5::Handle image = h5::open_dataset(file.get(), "slices/image");
    const h5::Handle mask = h5::open_dataset(file.get(), "slices/mask");
    for (std::size_t c = 0; c < found.size(); ++c) {
      const CasePlaces& stated = first[static_cast<std::ptrdiff_t>(c)];
      if (const auto what = difference(stated, found[c]); !what.empty())
        findings_.add(Code::INDEX_MISMATCH, name,
                      "case " + stated.record.name + ": " + what + " differs from the index");
      for (std::size_t s = 0; s < found[c].slices.size(); ++s) {
        const auto row = static_cast<hsize_t>(found[c].first_row) + s;
        const ChunkPlace& at = found[c].slices[s];
        const ChunkLocation i = chunk_place(image.get(), row), m = chunk_place(mask.get(), row);
        if (i.offset != at.image_offset || i.length != at.image_length ||
            m.offset != at.mask_offset || m.length != at.mask_length)
          findings_.add(Code::INDEX_MISMATCH, name,
                        "HDF5 finds row " + std::to_string(row) + " elsewhere");
      }
    }
  }

  void check_pixels() {
    const DatasetReader reader(root_);
    Progress progress("verify slices", reader.slices().size(), "slices");
    wsp::parallel_loop(std::size_t{0}, reader.slices().size(), [&](std::size_t i) {
      stop_if_interrupted("nothing was changed");
      const std::string name = shard_name(reader.slices()[i].shard);
      if (fs::is_regular_file(state_ / name))
        guarded(name, [&] {
          (void)reader.read_image(i);
          for (const std::uint8_t voxel : reader.read_mask(i))
            if (voxel > 1)
              throw Error(ErrorCode::corrupt, "a mask holds other values than 0 and 1");
        });
      progress.advance();
    });
  }

  fs::path root_, state_;  // state_: where the listed files are
  Findings findings_;
  nlohmann::json dataset_;
  std::set<std::string> sound_;
  DatasetLayout layout_;
  std::vector<CasePlaces> cases_;
};

}  // namespace

nlohmann::json read_checked_json(const fs::path& root, const std::string& name, const char* schema,
                                 Findings& findings) {
  try {
    nlohmann::json value = load_json(root / name);
    for (const std::string& violation : schema_violations(schema, value))
      findings.add(Code::SCHEMA_VIOLATION, name, violation);
    if (value.is_object()) return value;
  } catch (const std::exception& e) {
    findings.add(Code::SCHEMA_VIOLATION, name, e.what());
  }
  return {};
}

std::vector<Finding> verify_dataset(const fs::path& dataset) { return Verifier(dataset).run(); }

}  // namespace wsp
