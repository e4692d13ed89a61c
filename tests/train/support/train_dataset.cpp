#include "train/support/train_dataset.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/hash.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/dataset.hpp"
#include "io/shard/state.hpp"

namespace wsp::test {
namespace {

namespace fs = std::filesystem;

// [size][size] HU; `bare`: without a body.
std::vector<std::int16_t> picture(std::int64_t size, int subject, int label, int slice,
                                  double depth, bool bare) {
  CounterRng rng(7, {static_cast<std::uint64_t>(subject), static_cast<std::uint64_t>(slice)});
  std::vector<std::int16_t> image(static_cast<std::size_t>(size * size));
  const double half = static_cast<double>(size) / 2, wide = half * (0.55 + 0.35 * depth);
  const double wave = 2 * 3.14159265 / (3.0 + 3.0 * label) * (64.0 / static_cast<double>(size));
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x) {
      const double dx = (static_cast<double>(x) - half) / wide;
      const double dy = (static_cast<double>(y) - half) / (0.7 * half);
      double hu = -100;
      if (!bare && dx * dx + dy * dy < 1)
        hu =
            60 +
            60 * std::sin(wave * static_cast<double>(x)) * std::sin(wave * static_cast<double>(y)) +
            10 * (rng.uniform() - 0.5);
      image[static_cast<std::size_t>(y * size + x)] =
          static_cast<std::int16_t>(std::clamp(std::lround(hu), -100L, 400L));
    }
  return image;
}

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

void write_train_dataset(const fs::path& dataset, const TrainDatasetOptions& options) {
  const fs::path root = next_state(dataset);
  fs::create_directories(root / "shards");
  fs::create_directories(root / "cases");
  DatasetLayout layout;
  layout.shards = options.shards;
  layout.height = layout.width = options.size;
  layout.label_names = {"label", "stage"};
  layout.continuous_names = {"stiffness_kpa"};
  layout.tool_version = "test";
  const auto example =
      nlohmann::json::parse(read_file(WSP_SOURCE_DIR "/schemas/examples/case.json"));
  std::vector<std::vector<CaseRecord>> shards(static_cast<std::size_t>(options.shards));
  std::map<std::string, std::map<std::string, std::map<std::string, std::size_t>>> classes;
  std::string ledger = "path\tcode\tkind\tcase\tdetail\n";
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(options.size * options.size), 1);
  for (int c = options.first; c < options.first + options.subjects; ++c) {
    const int label = c % options.classes;
    CaseRecord record;
    record.name = "case-" + hex(sha256(options.prefix + std::to_string(c))).substr(0, 16);
    record.subject = "sub-" + options.prefix + std::to_string(c);
    record.labels = {label, c % 3 == 0 ? -1 : label};
    record.continuous = {c % 6 == 5 ? std::nan("") : 4 + 6.25 * label + 0.1 * (c % 7)};
    record.source_hash = hex(sha256("source" + std::to_string(c)));
    record.spacing_mm = 3;
    record.liver_ml = 1500;
    for (int s = 0; s < options.slices; ++s) {
      const double depth =
          options.slices == 1 ? 0.5 : static_cast<double>(s) / (options.slices - 1);
      SliceRecord slice;
      slice.source_index = s;
      slice.z_mm = 3 * s;
      slice.depth_kept = slice.depth_liver = slice.depth_volume = depth;
      const bool bare = s >= options.slices - options.bare;
      slice.liver_area_mm2 = bare ? 0 : 1000;
      const auto image = picture(options.size, c, label, s, depth, bare);
      if (options.bare > 0)
        std::transform(image.begin(), image.end(), mask.begin(),
                       [](std::int16_t hu) { return static_cast<std::uint8_t>(hu > -100); });
      slice.image = compress_slice(bytes_of(std::span<const std::int16_t>(image)), 2, layout.codec,
                                   chunk_seed(record.name, s, false));
      slice.mask = compress_slice(mask, 1, layout.codec, chunk_seed(record.name, s, true));
      record.slices.push_back(std::move(slice));
    }
    for (std::size_t l = 0; l < layout.label_names.size(); ++l) {
      auto& tally = classes[layout.label_names[l]][std::to_string(record.labels[l])];
      ++tally["cases"];
      tally["slices"] += record.slices.size();
    }
    nlohmann::json json = example;
    json["name"] = record.name;
    json["subject"] = record.subject;
    json["continuous"] = numbers_json(layout.continuous_names, record.continuous);
    json["source_hash"] = record.source_hash;
    json["slices"]["kept_count"] = record.slices.size();
    put(root / "cases" / (record.name + ".json"), json.dump());
    ledger += hex(sha256("file" + std::to_string(c))).substr(0, 32) + "\tUSED\tused\t" +
              record.name + "\t\n";
    shards[static_cast<std::size_t>(shard_of(record.name, layout.shards))].push_back(
        std::move(record));
  }
  std::vector<CasePlaces> places;
  for (int shard = 0; shard < layout.shards; ++shard)
    for (CasePlaces& place :
         write_shard(root, shard, std::move(shards[static_cast<std::size_t>(shard)]), layout))
      places.push_back(std::move(place));
  write_index(root, std::move(places), layout);
  put(root / "ledger.tsv", ledger);
  put(root / "quarantine.tsv", "what\tname\tcode\tdetail\tremedy\n");
  publish_state(dataset,
                {{"config", nlohmann::json::object()},
                 {"counts",
                  {{"cases", options.subjects},
                   {"slices", options.subjects * options.slices},
                   {"subjects", options.subjects},
                   {"files", options.subjects},
                   {"quarantined_cases", 0}}},
                 {"classes", classes},
                 {"flags", nlohmann::json::object()},
                 {"dispositions", {{"USED", options.subjects}}}},
                layout);
}

}  // namespace wsp::test
