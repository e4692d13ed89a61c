#include "preprocess/report/pixel_pass.hpp"

#include <sys/stat.h>
#include <tbb/enumerable_thread_specific.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/report/case_slices.hpp"
#include "preprocess/report/mask_fit.hpp"
#include "preprocess/report/numbers.hpp"
#include "preprocess/report/pictures.hpp"
#include "preprocess/report/reduced.hpp"
#include "preprocess/report/signature.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kStateVersion = 2;  // raise where a fact of pixels gets another meaning

struct Scratch {
  std::vector<std::int16_t> image;
  std::vector<std::uint8_t> mask;
  ReadScratch read;
};

struct Window {
  std::int16_t low = -100, high = 400;
};

Window window_of(const fs::path& dataset) {
  const json config = load_json(dataset / "dataset.json").value("config", json::object());
  if (!config.contains("window_hu")) return {};
  return {config.at("window_hu").at(0).get<std::int16_t>(),
          config.at("window_hu").at(1).get<std::int16_t>()};
}

// Changes whenever a shard is written anew, or somebody tampers with it in the usual ways.
std::string stamp_of(const fs::path& shard) {
  struct stat info {};
  if (::stat(shard.c_str(), &info) != 0) return "absent";
  return std::to_string(info.st_size) + ":" + std::to_string(info.st_mtim.tv_sec) + "." +
         std::to_string(info.st_mtim.tv_nsec);
}

fs::path slices_file(const fs::path& qa, const std::string& name) {
  return qa / "slices" / (name + ".js");
}

// Pixel facts of an earlier run, by case name; those of another version or shard are left out.
json earlier_state(const fs::path& qa) {
  std::error_code ec;
  if (!fs::is_regular_file(qa / "state.json", ec)) return json::object();
  try {
    json state = load_json(qa / "state.json");
    if (state.at("version") == kStateVersion && state.at("cases").is_object())
      return state.at("cases");
  } catch (const std::exception&) {
    // Not ours, or cut off: the pixels say it all again.
  }
  return json::object();
}

class Pass {
 public:
  Pass(const DatasetReader& reader, const fs::path& qa, Window window, std::int64_t slice_side)
      : reader_(reader), qa_(qa), window_(window), slice_side_(slice_side) {}

  PixelFacts operator()(std::size_t c, const CaseFacts& facts) {
    PixelFacts result;
    std::optional<CaseSlices> slices;
    if (slice_side_ > 0)
      slices.emplace(reader_.layout().width, reader_.layout().height, slice_side_,
                     reader_.cases()[c].pixel_mm, window_.low, window_.high);
    const ReducedCase reduced = read(c, slices ? &*slices : nullptr, result);
    const double scale = static_cast<double>(std::max(facts.matrix[0], facts.matrix[1])) /
                         static_cast<double>(std::max(reader_.layout().width, std::int64_t{1}));
    const double stored_mm[2] = {facts.pixel_mm[0] * scale, facts.pixel_mm[1] * scale};
    measure_mask_fit(reduced, stored_mm, facts.spacing_mm, result);
    measure_orientation(reduced, result);
    result.interpolated = count_interpolated(reduced);
    result.signature = signature_of(reduced);
    const CasePictures pictures = draw_case(reduced);
    if (!pictures.strip.empty()) {
      write_file_unsynced(qa_ / "pictures" / (facts.name + "-strip.png"),
                          std::span(pictures.strip));
      write_file_unsynced(qa_ / "pictures" / (facts.name + "-thumb.png"),
                          std::span(pictures.thumb));
    }
    const fs::path script = slices_file(qa_, facts.name);
    if (slices && slices->slices() > 0)
      write_file_unsynced(script, "wspSlices(" + json_text(slices->json()) + ")\n");
    else
      fs::remove(script);
    return result;
  }

 private:
  // Slices that cannot be read are left out; the first one's message is kept.
  ReducedCase read(std::size_t c, CaseSlices* slices, PixelFacts& facts) {
    const IndexCase& entry = reader_.cases()[c];
    const DatasetLayout& layout = reader_.layout();
    Scratch& scratch = scratch_.local();
    scratch.image.resize(static_cast<std::size_t>(layout.height * layout.width));
    scratch.mask.resize(scratch.image.size());
    ReducedCase reduced =
        reduced_case(layout.width, layout.height, static_cast<std::size_t>(entry.slice_count));
    MaskSums sums;
    std::size_t k = 0;
    for (std::int64_t s = 0; s < entry.slice_count; ++s) {
      stop_if_interrupted("nothing of this report was published: run the same command again");
      const auto row = static_cast<std::size_t>(entry.first_slice + s);
      try {
        reader_.read_image(row, scratch.image, scratch.read);
        reader_.read_mask(row, scratch.mask, scratch.read);
      } catch (const Error& e) {
        if (facts.damage.empty()) facts.damage = e.what();
        continue;
      }
      facts.content =
          xxh3_64(bytes_of(std::span<const std::int16_t>(scratch.image)), facts.content);
      reduce_slice(scratch.image, scratch.mask, layout.width, window_.low, window_.high, k++,
                   reduced, sums);
      if (slices != nullptr)
        slices->add(scratch.image, scratch.mask, reader_.slices()[row].z_mm,
                    reader_.slices()[row].source_index);
    }
    facts.slices = static_cast<std::int64_t>(k);
    reduced.hu.resize(k * reduced.plane());
    reduced.coverage.resize(k * reduced.plane());
    if (sums.n > 0) {
      const auto n = static_cast<double>(sums.n);
      facts.liver_mean_hu = static_cast<double>(sums.sum) / n;
      facts.liver_sd_hu = std::sqrt(std::max(
          0.0, static_cast<double>(sums.squares) / n - facts.liver_mean_hu * facts.liver_mean_hu));
      facts.low_share = static_cast<double>(sums.low) / n;
      facts.high_share = static_cast<double>(sums.high) / n;
    }
    return reduced;
  }

  const DatasetReader& reader_;
  fs::path qa_;
  Window window_;
  std::int64_t slice_side_;
  tbb::enumerable_thread_specific<Scratch> scratch_;
};

}  // namespace

PassSummary run_pixel_pass(const fs::path& dataset, const DatasetReader& reader, const fs::path& qa,
                           bool fresh, std::int64_t slice_side, std::vector<CaseFacts>& cases) {
  std::error_code ec;
  const json earlier = fresh ? json::object() : earlier_state(qa);
  std::vector<std::string> stamps;
  for (int shard = 0; shard < reader.layout().shards; ++shard)
    stamps.push_back(stamp_of(reader.state() / "shards" / shard_file_name(shard)));
  const auto key = [&](const CaseFacts& facts) {
    const auto shard = static_cast<std::size_t>(shard_of(facts.name, reader.layout().shards));
    return facts.source_hash + " " + stamps[shard] + " " + std::to_string(slice_side);
  };
  PassSummary summary;
  std::vector<std::size_t> open;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const auto found = earlier.find(cases[c].name);
    const bool usable = found != earlier.end() && found->value("key", "") == key(cases[c]) &&
                        fs::exists(qa / "pictures" / (cases[c].name + "-thumb.png"), ec) &&
                        (slice_side == 0 || fs::exists(slices_file(qa, cases[c].name), ec));
    if (!usable) {
      open.push_back(c);
      continue;
    }
    cases[c].pixels = pixel_facts(found->at("pixels"));
    ++summary.taken;
  }
  summary.read = open.size();
  Pass pass(reader, qa, window_of(dataset), slice_side);
  Progress progress("pixels", open.size(), "cases");
  wsp::parallel_loop(std::size_t{0}, open.size(), [&](std::size_t i) {
    cases[open[i]].pixels = pass(open[i], cases[open[i]]);
    progress.advance();
  });
  progress.finish();
  if (summary.read > 0) sync_filesystem(qa);  // before state.json vouches for the pictures
  json state{{"version", kStateVersion}, {"cases", json::object()}};
  for (const CaseFacts& facts : cases)
    state["cases"][facts.name] = {{"key", key(facts)}, {"pixels", to_json(facts.pixels)}};
  write_file_atomic(qa / "state.json", json_text(state) + "\n");
  return summary;
}

}  // namespace wsp::qa
