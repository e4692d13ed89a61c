#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/png.hpp"
#include "io/manifest/manifest.hpp"
#include "train/pretrain/setup.hpp"
#include "train/pretrain/train.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/run_log.hpp"

namespace wsp::train {

void redraw_views(const std::filesystem::path& run, const std::filesystem::path& dataset,
                  std::int64_t epoch, std::int64_t step, const std::filesystem::path& out) {
  if (!png_available())
    throw Error(
        ErrorCode::failure,
        "redraw draws a PNG, which this build cannot: install libpng-dev and configure with "
        "-DWSP_WITH_PNG=ON");
  const TrainConfig config = config_from_json(load_json(run / "config.resolved.json"));
  if (hex(sha256_file(dataset / "dataset.json")) != config.dataset_sha256)
    throw Error(ErrorCode::usage,
                dataset.string() + " is not the dataset that the run was made with");
  const DatasetReader reader(dataset);
  const TrainingSet set = select_slices(reader, select_options(config));
  const BalancedSampler sampler(set, sampler_options(config));
  if (epoch < 0 || epoch >= config.epochs || step < 0 || step >= sampler.steps_per_epoch())
    throw Error(ErrorCode::usage,
                fmt::format("expected --epoch from 0 to {} and --step from 0 to {}",
                            config.epochs - 1, sampler.steps_per_epoch() - 1));
  const auto positions = sampler.batch(epoch, step);
  LoaderOptions options;
  options.image_size = config.image_size;
  options.ring = 2;
  options.skip_corrupt = config.skip_corrupt;
  // Share by share, as the ranks read it: a damaged slice is replaced by one of its rank's share.
  const std::size_t share = positions.size() / static_cast<std::size_t>(config.ranks);
  BatchLoader loader(
      reader,
      [&](std::int64_t i) {
        std::vector<std::uint32_t> rows;
        for (std::size_t at = 0; i < config.ranks && at < share; ++at)
          rows.push_back(set.slices[positions[static_cast<std::size_t>(i) * share + at]].row);
        return rows;
      },
      0, options);
  std::vector<std::uint32_t> rows;
  std::vector<std::int16_t> pixels;
  while (const auto lease = loader.next()) {
    rows.insert(rows.end(), lease->rows().begin(), lease->rows().end());
    pixels.insert(pixels.end(), lease->images().begin(), lease->images().end());
  }
  std::map<std::uint32_t, const TrainSlice*> slice_of;
  for (const TrainSlice& slice : set.slices) slice_of[slice.row] = &slice;
  const auto n = static_cast<std::int64_t>(rows.size());
  const auto parameters = batch_views(config, epoch, step * config.batch, n);
  const auto hu =
      torch::from_blob(pixels.data(), {n, config.image_size, config.image_size}, torch::kShort);
  const torch::Tensor sheet = view_sheet(hu, draw_views(hu, parameters), n);
  std::error_code code;
  for (const char* name : {"views.png", "views.json"})
    if (std::filesystem::exists(out / name, code))
      throw Error(ErrorCode::output, (out / name).string() + " exists: choose another --sheet");
  std::filesystem::create_directories(out, code);
  if (code) throw Error(ErrorCode::output, "cannot make " + out.string() + ": " + code.message());
  write_file_atomic(out / "views.png", encode_grey_png(sheet.size(1), sheet.size(0),
                                                       {sheet.data_ptr<std::uint8_t>(),
                                                        static_cast<std::size_t>(sheet.numel())}));
  nlohmann::json list = nlohmann::json::array();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const ViewParameters& p = parameters[i];
    const TrainSlice& slice = *slice_of.at(rows[i % static_cast<std::size_t>(n)]);
    list.push_back({{"case", reader.cases()[static_cast<std::size_t>(slice.case_id)].name},
                    {"source_index", reader.slices()[slice.row].source_index},
                    {"label", slice.label},
                    {"depth", slice.depth},
                    {"view", i < static_cast<std::size_t>(n) ? 1 : 2},
                    {"flip_x", p.flip_x},
                    {"flip_y", p.flip_y},
                    {"angle_rad", p.angle_rad},
                    {"shift", {p.shift_x, p.shift_y}},
                    {"crop", {p.crop_x, p.crop_y, p.crop_w, p.crop_h}}});
  }
  write_file_atomic(out / "views.json", json_text(list, 1) + "\n");
}

}  // namespace wsp::train
