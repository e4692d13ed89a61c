#include "train/eval/roster.hpp"

#include <tbb/parallel_for.h>

#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/progress.hpp"
#include "io/shard/dataset.hpp"
#include "train/data/training_set.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

std::string directory_name(const fs::path& dataset) {
  const fs::path path = fs::absolute(dataset).lexically_normal();
  return (path.filename().empty() ? path.parent_path() : path).filename().string();
}

std::vector<std::uint64_t> pixel_hashes(const DatasetReader& reader, const std::vector<std::size_t>& rows) {
  const auto pixels = static_cast<std::size_t>(reader.layout().height * reader.layout().width);
  std::vector<std::uint64_t> hashes(rows.size());
  Progress progress("comparing volumes", rows.size(), "slices");
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, rows.size(), 64), [&](const auto& range) {
    stop_if_interrupted("run the same command again to go on");
    std::vector<std::int16_t> image(pixels);
    ReadScratch scratch;
    for (std::size_t i = range.begin(); i < range.end(); ++i) {
      reader.read_image(rows[i], image, scratch);
      hashes[i] = xxh3_64(bytes_of(std::span<const std::int16_t>(image)));
    }
    progress.advance(range.size());
  });
  return hashes;
}

}  // namespace

FeatureTable roster(const fs::path& dataset, bool include_flagged, RosterContent content) {
  const DatasetReader reader(dataset);
  FeatureTable t;
  t.dimensions = 1;
  t.label_names = reader.layout().label_names;
  t.labels.resize(t.label_names.size());
  std::vector<std::size_t> rows;
  for (const IndexCase& entry : reader.cases()) {
    if ((!include_flagged && !depth_is_trusted(entry)) || entry.slice_count == 0) continue;
    for (std::int64_t s = 0; s < entry.slice_count; ++s) {
      rows.push_back(static_cast<std::size_t>(entry.first_slice + s));
      t.case_id.push_back(static_cast<std::int32_t>(t.cases.size()));
      t.depth.push_back(reader.slices()[rows.back()].depth_kept);
    }
    t.cases.push_back({entry.name, entry.subject, 0, 0, "", ""});
    for (std::size_t l = 0; l < t.labels.size(); ++l) t.labels[l].push_back(entry.labels[l]);
  }
  t.values.assign(rows.size(), 0);
  const std::string sha256 = hex(sha256_file(dataset / "dataset.json"));
  if (content == RosterContent::pixels)
    t.content = pixel_hashes(reader, rows);
  else
    for (const std::size_t row : rows) {
      const std::string slice = sha256 + " " + std::to_string(row);
      t.content.push_back(xxh3_64(bytes_of(std::span<const char>(slice))));
    }
  t.facts = {{"dataset", directory_name(dataset)}, {"dataset_sha256", sha256}};
  return t;
}

}  // namespace wsp::train
