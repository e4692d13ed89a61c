#include "io/shard/dataset_fixture.hpp"

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "io/core/atomic_file.hpp"
#include "io/core/hash.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/state.hpp"

namespace wsp::test {

namespace fs = std::filesystem;

DatasetLayout small_layout(Codec codec, int shards) {
  DatasetLayout layout;
  layout.shards = shards;
  layout.height = kHeight;
  layout.width = kWidth;
  layout.codec = codec;
  layout.label_names = {"label", "metavir"};
  layout.continuous_names = {"stiffness_kpa", "age"};
  layout.tool_version = "test";
  return layout;
}

std::vector<std::int16_t> made_image(int c, std::int32_t source_index) {
  std::vector<std::int16_t> image(kHeight * kWidth);
  for (std::size_t i = 0; i < image.size(); ++i)
    image[i] =
        static_cast<std::int16_t>((static_cast<int>(i) * (c + 3) + 17 * source_index) % 501 - 100);
  return image;
}

std::vector<std::uint8_t> made_mask(int c, std::int32_t source_index) {
  std::vector<std::uint8_t> mask(kHeight * kWidth);
  for (std::size_t i = 0; i < mask.size(); ++i)
    mask[i] = (static_cast<int>(i) / 7 + c + source_index) % 3 == 0 ? 1 : 0;
  return mask;
}

std::string made_name(int c) { return "case-" + hex(sha256(std::to_string(c))).substr(0, 16); }

CaseRecord made_case(int c, const DatasetLayout& layout) {
  CaseRecord record;
  record.name = made_name(c);
  record.subject = "sub-" + std::to_string(c / 2);
  record.split = c % 3 == 0 ? "test" : "train";
  record.labels = {c % 4, c % 5 == 0 ? -1 : c % 5};
  // 7.3, like most decimals, is no sum of powers of two: what is rounded on the way is seen.
  if (!layout.continuous_names.empty())
    record.continuous = {c % 4 == 1 ? std::nan("") : 7.3 + 0.1 * c, 61.5 - c};
  if (c % 2 == 0) record.flags = {Code::RESAMPLED, Code::GAP};
  record.source_hash = hex(sha256("source" + std::to_string(c)));
  record.pixel_mm[0] = 0.7 + 0.01 * c;
  record.pixel_mm[1] = 0.8;
  record.spacing_mm = 5;
  record.liver_ml = 1400.5 + c;
  const int n = 1 + c % 5;
  for (int s = 0; s < n; ++s) {
    SliceRecord slice;
    slice.source_index = 10 + s;
    slice.z_mm = -200.25 + 5 * s + c;
    slice.depth_kept = n == 1 ? 0.5 : static_cast<double>(s) / (n - 1);
    slice.depth_liver = 0.2 + 0.1 * s;
    slice.depth_volume = 0.4 + 0.05 * s;
    slice.liver_area_mm2 = 100 + s;
    const auto image = made_image(c, slice.source_index);
    slice.image = compress_slice(bytes_of(std::span<const std::int16_t>(image)), 2, layout.codec,
                                 chunk_seed(record.name, slice.source_index, false));
    slice.mask = compress_slice(made_mask(c, slice.source_index), 1, layout.codec,
                                chunk_seed(record.name, slice.source_index, true));
    record.slices.push_back(std::move(slice));
  }
  return record;
}

void write_dataset(const fs::path& dataset, const DatasetLayout& layout, int count) {
  const fs::path root = next_state(dataset);
  fs::create_directories(root / "shards");
  fs::create_directories(root / "cases");
  const auto example =
      nlohmann::json::parse(read_file(WSP_SOURCE_DIR "/schemas/examples/case.json"));
  std::vector<std::vector<CaseRecord>> shards(static_cast<std::size_t>(layout.shards));
  std::string ledger = "path\tcode\tkind\tcase\tdetail\n";
  std::map<std::string, std::size_t> flags;
  std::map<std::string, std::map<std::string, std::map<std::string, std::size_t>>> classes;
  std::size_t slices = 0;
  for (int c = 0; c < count; ++c) {
    CaseRecord record = made_case(c, layout);
    nlohmann::json json = example;
    for (const Code flag : record.flags) ++flags[std::string(to_string(flag))];
    for (std::size_t l = 0; l < layout.label_names.size(); ++l) {
      auto& tally = classes[layout.label_names[l]][std::to_string(record.labels[l])];
      ++tally["cases"];
      tally["slices"] += record.slices.size();
    }
    json["name"] = record.name;
    json["subject"] = record.subject;
    json["split"] = record.split;
    json["flags"] = nlohmann::json::array();
    for (const Code flag : record.flags) json["flags"].push_back(to_string(flag));
    json["labels"] = nlohmann::json::object();
    for (std::size_t l = 0; l < layout.label_names.size(); ++l)
      json["labels"][layout.label_names[l]] = record.labels[l];
    json.erase("continuous");
    if (!layout.continuous_names.empty())
      json["continuous"] = numbers_json(layout.continuous_names, record.continuous);
    json["source_hash"] = record.source_hash;
    json["slices"]["kept_count"] = record.slices.size();
    overwrite(root / "cases" / (record.name + ".json"), json.dump());
    ledger += hex(sha256("file" + std::to_string(c))).substr(0, 32) + "\tUSED\tused\t" +
              record.name + "\t\n";
    slices += record.slices.size();
    shards[static_cast<std::size_t>(shard_of(record.name, layout.shards))].push_back(
        std::move(record));
  }
  ledger += "0123456789abcdef0123456789abcdef\tNOT_DICOM\tignored\t\t\n";
  std::vector<CasePlaces> places;
  for (int shard = 0; shard < layout.shards; ++shard)
    for (CasePlaces& place :
         write_shard(root, shard, std::move(shards[static_cast<std::size_t>(shard)]), layout))
      places.push_back(std::move(place));
  write_index(root, std::move(places), layout);
  overwrite(root / "ledger.tsv", ledger);
  overwrite(root / "quarantine.tsv", "what\tname\tcode\tdetail\tremedy\n");
  nlohmann::json dispositions{{"NOT_DICOM", 1}};
  if (count > 0) dispositions["USED"] = count;
  const nlohmann::json fields{{"config", nlohmann::json::object()},
                              {"counts",
                               {{"cases", count},
                                {"slices", slices},
                                {"subjects", (count + 1) / 2},
                                {"files", count + 1},
                                {"quarantined_cases", 0}}},
                              {"classes", classes},
                              {"flags", flags},
                              {"dispositions", dispositions}};
  publish_state(dataset, fields, layout);
}

void make_version_one(const fs::path& root) {
  const fs::path state = state_directory(root);
  for (const auto& entry : fs::directory_iterator(state))
    fs::rename(entry.path(), root / entry.path().filename());
  fs::remove(state);
  auto json = nlohmann::json::parse(read_file(root / "dataset.json"));
  json["version"] = 1;
  json.erase("state");
  overwrite(root / "dataset.json", json.dump());
}

void overwrite(const fs::path& path, const std::string& bytes) {
  fs::remove(path);  // writing over a file makes some file systems sync it
  std::ofstream(path, std::ios::binary) << bytes;
}

void forge_hashes(const fs::path& root) {
  auto json = nlohmann::json::parse(read_file(root / "dataset.json"));
  for (auto& [name, hash] : json["files"].items())
    hash = hex(sha256_file(state_directory(root) / name));
  overwrite(root / "dataset.json", json.dump());
}

}  // namespace wsp::test
