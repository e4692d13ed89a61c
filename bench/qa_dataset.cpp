// A dataset of 1,000 cases x 40 slices at 512^2 for timing wsp-qa: qa_dataset OUT [CASES SLICES],
// two slices or more.
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "io/core/counter_rng.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset.hpp"
#include "io/shard/state.hpp"

namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kSide = 512;
constexpr int kNoises = 16;

using Image = std::vector<std::int16_t>;

// A liver is some 120 mm high, however many slices it has.
double step_mm(int slices) { return 120.0 / slices; }

// Noise of 12 HU, made once and shifted from slice to slice: drawing it anew would take minutes.
std::vector<Image> noises() {
  std::vector<Image> all(kNoises, Image(static_cast<std::size_t>(2 * kSide * kSide)));
  tbb::parallel_for(0, kNoises, [&](int n) {
    wsp::CounterRng rng(3, {static_cast<std::uint64_t>(n)});
    for (auto& v : all[static_cast<std::size_t>(n)])
      v = static_cast<std::int16_t>(std::lrint(12 * rng.normal()));
  });
  return all;
}

void draw(int c, int s, int slices, const std::vector<Image>& noise, Image& image,
          std::vector<std::uint8_t>& mask) {
  wsp::CounterRng rng(5, {static_cast<std::uint64_t>(c)});
  const double wide = rng.uniform(200, 235), deep = rng.uniform(140, 170),
               liver = rng.uniform(70, 90);
  const double up = static_cast<double>(s) / std::max(1, slices - 1);
  const double spot_x = rng.uniform(-40, 120), spot_y = rng.uniform(-60, 60);
  const Image& n = noise[static_cast<std::size_t>((c + s) % kNoises)];
  const auto shift = static_cast<std::size_t>((c * 7919 + s * 104729) % (kSide * kSide));
  for (std::int64_t y = 0; y < kSide; ++y)
    for (std::int64_t x = 0; x < kSide; ++x) {
      const auto at = static_cast<std::size_t>(y * kSide + x);
      const double dx = static_cast<double>(x - 256), dy = static_cast<double>(y - 256);
      const auto in = [&](double cx, double cy, double rx, double ry) {
        return (dx - cx) * (dx - cx) / (rx * rx) + (dy - cy) * (dy - cy) / (ry * ry) < 1;
      };
      const bool is_liver = in(-70, -10, liver * (0.75 + 0.5 * up * (1 - up)), liver);
      double hu = -1000;
      if (in(0, 0, wide, deep)) hu = in(0, 0, wide - 25, deep - 25) ? 45 : -100;
      if (is_liver) hu = 108;
      if (in(0, 95, 26, 24)) hu = 300;
      if (in(spot_x, spot_y, 22, 18) && !is_liver && in(0, 0, wide - 25, deep - 25)) hu = 120;
      mask[at] = is_liver ? 1 : 0;
      image[at] = static_cast<std::int16_t>(std::clamp(hu + n[at + shift], -100.0, 400.0));
    }
}

// Ten organs of its own, so that no two cases look alike: cases that do are findings.
void add_organs(int c, int s, const std::vector<std::uint8_t>& mask, Image& image) {
  wsp::CounterRng rng(7, {static_cast<std::uint64_t>(c)});
  for (int organ = 0; organ < 10; ++organ) {
    const auto cx = std::lrint(rng.uniform(256 - 150, 256 + 150) + s / 4),
               cy = std::lrint(rng.uniform(256 - 90, 256 + 90));
    const auto radius = std::lrint(rng.uniform(18, 40));
    const double hu = rng.uniform(-140, 120);
    for (std::int64_t y = cy - radius; y <= cy + radius; ++y)
      for (std::int64_t x = cx - radius; x <= cx + radius; ++x) {
        const auto at = static_cast<std::size_t>(y * kSide + x);
        if ((x - cx) * (x - cx) + (y - cy) * (y - cy) > radius * radius || mask[at] != 0 ||
            image[at] < -50 || image[at] > 150)
          continue;
        image[at] = static_cast<std::int16_t>(std::clamp(image[at] + hu, -100.0, 400.0));
      }
  }
}

nlohmann::json provenance(const wsp::CaseRecord& record, int slices) {
  std::vector<double> z, body, lung, bone, liver, hu;
  for (int k = 0; k < slices * 2; ++k) {
    const double up = k / (2.0 * slices - 1);
    z.push_back(step_mm(slices) * k);
    body.push_back(60000);
    lung.push_back(std::max(0.0, 40000 * (up - 0.6)));
    bone.push_back(3000 + 1500 * up);
    liver.push_back(
        k < slices / 2 || k >= slices * 3 / 2 ? 0.0 : 18000 * std::sin(3.14159 * (2 * up - 0.5)));
    hu.push_back(108);
  }
  std::vector<std::int64_t> body_bins(310), liver_bins(310), air_bins(310);
  body_bins[100] = 5000000, body_bins[101] = 4000000, body_bins[114] = 6000000,
  liver_bins[120] = 2000000;
  air_bins[9] = 4000000, air_bins[10] = 5000000, body_bins[120] = 2000000;
  return {{"format", "wsp-case"},
          {"version", 1},
          {"name", record.name},
          {"subject", record.subject},
          {"split", ""},
          {"labels", {{"label", record.labels[0]}}},
          {"flags", nlohmann::json::array()},
          {"source_hash", record.source_hash},
          {"geometry",
           {{"size", {kSide, kSide, slices * 2}},
            {"spacing_mm", {0.8, 0.8, step_mm(slices)}},
            {"origin_mm", {0, 0, 0}},
            {"direction", {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
            {"z_mm", z}}},
          {"series",
           {{"kind", "dicom"},
            {"phase", "portal"},
            {"kernel", "soft"},
            {"candidates", nlohmann::json::array()}}},
          {"stored",
           {{"minimum_hu", -1024}, {"maximum_hu", 1600}, {"sum_hu", 0}, {"padding_voxels", 0}}},
          {"phase_by_hu",
           {{"liver_mean_hu", 108},
            {"liver_median_hu", 108},
            {"vessel_hu", 160},
            {"noise_hu", 8},
            {"verdict", "portal"}}},
          {"mask", {{"source", "file"}, {"liver_ml", 1500}}},
          {"slices",
           {{"acquired", slices * 2},
            {"liver_first", slices / 2},
            {"liver_last", slices * 3 / 2 - 1},
            {"kept_first", slices / 2},
            {"kept_count", slices}}},
          {"profile",
           {{"z_mm", z},
            {"body_mm2", body},
            {"lung_mm2", lung},
            {"bone_mm2", bone},
            {"liver_mm2", liver},
            {"liver_mean_hu", hu}}},
          {"histogram",
           {{"low_hu", -1100},
            {"high_hu", 2000},
            {"bin_hu", 10},
            {"body", body_bins},
            {"liver", liver_bins},
            {"air", air_bins}}}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: qa_dataset OUT [CASES SLICES]\n";
    return 2;
  }
  const fs::path dataset = argv[1], root = wsp::next_state(dataset);
  const int cases = argc > 2 ? std::atoi(argv[2]) : 1000,
            slices = argc > 3 ? std::atoi(argv[3]) : 40;
  for (const char* part : {"shards", "cases"}) fs::create_directories(root / part);
  wsp::DatasetLayout layout;
  layout.shards = 64;  // of some 80 MB each
  layout.tool_version = "bench";
  const auto noise = noises();
  std::vector<std::vector<int>> of_shard(static_cast<std::size_t>(layout.shards));
  const auto name_of = [](int c) {
    return "case-" + wsp::hex(wsp::sha256(std::to_string(c))).substr(0, 16);
  };
  for (int c = 0; c < cases; ++c)
    of_shard[static_cast<std::size_t>(wsp::shard_of(name_of(c), layout.shards))].push_back(c);
  std::vector<wsp::CasePlaces> places;
  std::ofstream ledger(root / "ledger.tsv");
  ledger << "path\tcode\tkind\tcase\tdetail\n";
  for (int shard = 0; shard < layout.shards; ++shard) {
    const auto& numbers = of_shard[static_cast<std::size_t>(shard)];
    std::vector<wsp::CaseRecord> records(numbers.size());
    tbb::parallel_for(std::size_t{0}, numbers.size(), [&](std::size_t i) {
      const int c = numbers[i];
      Image image(static_cast<std::size_t>(kSide * kSide));
      std::vector<std::uint8_t> mask(image.size());
      wsp::CaseRecord& r = records[i];
      r.name = name_of(c);
      r.subject = "sub-" + std::to_string(c);
      r.labels = {c % 4};
      r.source_hash = wsp::hex(wsp::sha256("source" + std::to_string(c)));
      r.spacing_mm = step_mm(slices);
      r.liver_ml = 1500;
      for (int s = 0; s < slices; ++s) {
        draw(c, s, slices, noise, image, mask);
        add_organs(c, s, mask, image);
        wsp::SliceRecord slice;
        slice.source_index = slices / 2 + s;
        slice.z_mm = step_mm(slices) * slice.source_index;
        slice.depth_kept = slice.depth_liver = static_cast<double>(s) / (slices - 1);
        slice.depth_volume = static_cast<double>(slice.source_index) / (2 * slices - 1);
        slice.liver_area_mm2 = 15000;
        slice.image =
            wsp::compress_slice(wsp::bytes_of(std::span<const std::int16_t>(image)), 2,
                                layout.codec, wsp::chunk_seed(r.name, slice.source_index, false));
        slice.mask = wsp::compress_slice(mask, 1, layout.codec,
                                         wsp::chunk_seed(r.name, slice.source_index, true));
        r.slices.push_back(std::move(slice));
      }
      std::ofstream(root / "cases" / (r.name + ".json")) << provenance(r, slices).dump();
    });
    for (const int c : numbers)
      ledger << wsp::hex(wsp::sha256("file" + std::to_string(c))).substr(0, 32) << "\tUSED\tused\t"
             << name_of(c) << "\t\n";
    for (auto& place : wsp::write_shard(root, shard, std::move(records), layout))
      places.push_back(std::move(place));
  }
  ledger.close();
  wsp::write_index(root, std::move(places), layout);
  std::ofstream(root / "quarantine.tsv") << "what\tname\tcode\tdetail\tremedy\n";
  wsp::publish_state(dataset,
                     {{"config", nlohmann::json::object()},
                      {"counts",
                       {{"files", cases},
                        {"cases", cases},
                        {"subjects", cases},
                        {"slices", cases * slices},
                        {"quarantined_cases", 0}}},
                      {"dispositions", {{"USED", cases}}}},
                     layout);
  return 0;
}
