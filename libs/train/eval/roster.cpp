#include "train/eval/roster.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "io/shard/dataset.hpp"
#include "train/data/rated_cases.hpp"
#include "train/data/resize.hpp"
#include "train/data/training_set.hpp"
#include "train/eval/left_out.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

std::string directory_name(const fs::path& dataset) {
  const fs::path path = fs::absolute(dataset).lexically_normal();
  return (path.filename().empty() ? path.parent_path() : path).filename().string();
}

std::vector<std::uint64_t> pixel_hashes(const DatasetReader& reader,
                                        const std::vector<std::size_t>& rows, std::int64_t side) {
  const auto pixels = static_cast<std::size_t>(reader.layout().height * reader.layout().width);
  const Resizer resizer(reader.layout().height, reader.layout().width,
                        side > 0 ? side : reader.layout().height);
  const bool as_stored = side == 0 || resizer.is_identity();
  std::vector<std::uint64_t> hashes(rows.size());
  Progress progress("comparing volumes", rows.size(), "slices");
  wsp::parallel_loop(tbb::blocked_range<std::size_t>(0, rows.size(), 64), [&](const auto& range) {
    stop_if_interrupted("run the same command again to go on");
    std::vector<std::int16_t> image(pixels),
        resized(as_stored ? 0 : static_cast<std::size_t>(side * side));
    std::vector<std::int32_t> sums;
    ReadScratch scratch;
    for (std::size_t i = range.begin(); i < range.end(); ++i) {
      reader.read_image(rows[i], image, scratch);
      if (!as_stored) resizer.image(image, resized, sums);
      hashes[i] = xxh3_64(bytes_of(std::span<const std::int16_t>(as_stored ? image : resized)));
    }
    progress.advance(range.size());
  });
  return hashes;
}

}  // namespace

FeatureTable roster(const fs::path& dataset, bool include_flagged, RosterContent content,
                    std::int64_t image_size) {
  const DatasetReader reader(dataset);
  FeatureTable t;
  t.dimensions = 1;
  t.label_names = reader.layout().label_names;
  t.label_words = reader.label_words();
  t.labels.resize(t.label_names.size());
  std::vector<std::size_t> rows;
  for (const std::string& name : cases_left_out_before(dataset))
    t.left_out[name] = kLeftOutByIngest;
  for (const IndexCase& entry : reader.cases()) {
    if (entry.slice_count == 0 || (!include_flagged && !depth_is_trusted(entry.flags))) {
      t.left_out[entry.name] = entry.slice_count == 0 ? kLeftOutAbsent : kLeftOutFlagged;
      continue;
    }
    for (std::int64_t s = 0; s < entry.slice_count; ++s) {
      rows.push_back(static_cast<std::size_t>(entry.first_slice + s));
      t.case_id.push_back(static_cast<std::int32_t>(t.cases.size()));
      t.slice.push_back(reader.slices()[rows.back()].source_index);
      t.depth.push_back(reader.slices()[rows.back()].depth_kept);
    }
    t.cases.push_back({entry.name, entry.subject});
    for (std::size_t l = 0; l < t.labels.size(); ++l) t.labels[l].push_back(entry.labels[l]);
    add_numbers(t, reader, entry);
  }
  t.values.assign(rows.size(), 0);
  const std::string sha256 = hex(sha256_file(dataset / "dataset.json"));
  if (content == RosterContent::pixels)
    t.content = pixel_hashes(reader, rows, image_size);
  else
    for (const std::size_t row : rows) {
      const std::string slice = sha256 + " " + std::to_string(row);
      t.content.push_back(xxh3_64(bytes_of(std::span<const char>(slice))));
    }
  t.facts = {{"dataset", directory_name(dataset)}, {"dataset_sha256", sha256}};
  return t;
}

void add_numbers(FeatureTable& t, const DatasetReader& reader, const IndexCase& entry) {
  const std::vector<std::string>& names = reader.layout().continuous_names;
  for (std::size_t i = 0; i < names.size(); ++i) t.numbers[names[i]].push_back(entry.continuous[i]);
}

void describe_case(const DatasetReader& reader, FeatureCase& c) {
  const std::string name = "cases/" + c.name + ".json";
  if (!reader.lists(name)) return;
  const auto json = nlohmann::json::parse(reader.read_listed(name), nullptr, false);
  if (json.is_discarded()) return;
  if (json.contains("/geometry/spacing_mm/2"_json_pointer)) {
    c.spacing_mm = json.at("/geometry/spacing_mm/2"_json_pointer).get<double>();
    c.pixel_mm = json.at("/geometry/spacing_mm/0"_json_pointer).get<double>();
  }
  c.kernel = json.value("/series/kernel"_json_pointer, "");
  c.scanner = json.value("/series/scanner"_json_pointer, "");
  c.phase = json.value("/series/phase"_json_pointer, "");
}

void set_provenance(FeatureTable& t, const Provenance& p) {
  t.facts["method"] = p.method.empty() ? "unknown" : p.method;
  t.facts["pretraining_sha256"] = p.dataset_sha256.empty() ? "unknown" : p.dataset_sha256;
  for (FeatureCase& c : t.cases)
    c.trained_on = !p.trained_on ? -1 : p.trained_on->contains(subject_mark(c.subject)) ? 1 : 0;
}

FeatureTable import_on_dataset(const fs::path& npy, const fs::path& tsv, ImportContext context,
                               const fs::path& dataset, bool include_flagged) {
  FeatureTable known = roster(dataset, true, RosterContent::pixels);
  const DatasetReader reader(dataset);
  for (FeatureCase& c : known.cases) describe_case(reader, c);
  known.facts["image_size"] =
      std::to_string(reader.layout().height);  // at which the pixels were hashed
  const FeatureTable trusted = roster(dataset, include_flagged);
  for (const FeatureCase& c : known.cases) context.left_out.insert(c.name);
  for (const FeatureCase& c : trusted.cases) context.left_out.erase(c.name);
  if (!context.left_out.empty())
    log::info(
        fmt::format("{} cases with a truncated liver or doubtful depth are left out; "
                    "--include-flagged takes them",
                    context.left_out.size()));
  context.known = &known;
  return import_features(npy, tsv, context);
}

FeatureTable pretraining_roster(const FeatureTable& features, const fs::path& dataset) {
  const std::string named = features.fact("pretraining_sha256");
  const std::string found = roster(dataset, true).facts.at("dataset_sha256");
  if (named == "unknown")
    log::warn("--pretraining: the weights behind " + features.fact("dataset") +
              " do not name the dataset that they were trained on; " + dataset.string() +
              " is taken for it");
  else if (named != found)
    throw Error(ErrorCode::usage,
                fmt::format("--pretraining {} is not the dataset that the encoder was trained on: "
                            "SHA-256 of its dataset.json {}, "
                            "the features say {}; give that dataset as it was then",
                            dataset.string(), found.substr(0, 12), named.substr(0, 12)));
  if (features.fact("image_size") == "unknown")
    throw Error(ErrorCode::usage, "--pretraining compares pixels, and the features of " +
                                      features.fact("dataset") +
                                      " do not say at which size theirs were "
                                      "hashed: import them with --dataset");
  return roster(dataset, true, RosterContent::pixels, std::stoll(features.fact("image_size")));
}

}  // namespace wsp::train
