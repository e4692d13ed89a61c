#include "train/pretrain/probe_pass.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/device.hpp"
#include "train/run/on_its_way.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kSlicesPerCase = 4;  // evenly spread over the case
constexpr std::size_t kMostSlices = 2000;  // on each side
constexpr std::size_t kBatch = 32;

std::vector<TrainSlice> spread(const std::vector<TrainSlice>& all) {
  std::map<std::int32_t, std::vector<const TrainSlice*>> cases;
  for (const TrainSlice& slice : all) cases[slice.case_id].push_back(&slice);
  std::vector<TrainSlice> chosen;
  for (const auto& [id, slices] : cases) {
    const std::size_t count = std::min(kSlicesPerCase, slices.size());
    for (std::size_t i = 0; i < count; ++i)
      chosen.push_back(*slices[(2 * i + 1) * slices.size() / (2 * count)]);
  }
  if (chosen.size() <= kMostSlices) return chosen;
  std::vector<TrainSlice> thinned;
  for (std::size_t i = 0; i < kMostSlices; ++i)
    thinned.push_back(chosen[i * chosen.size() / kMostSlices]);
  return thinned;
}

std::size_t classes_of(const std::vector<TrainSlice>& slices) {
  std::set<std::int64_t> found;
  for (const TrainSlice& slice : slices)
    if (slice.label >= 0) found.insert(slice.label);
  return found.size();
}

}  // namespace

ProbePass::ProbePass(const DatasetReader& reader, const TrainingSet& set, const std::string& label,
                     LoaderOptions loading)
    : reader_(reader),
      loading_(std::move(loading)),
      train_(spread(set.slices)),
      test_(spread(set.held_back)) {
  loading_.cache = CacheMode::none;  // every slice is read once
  loading_.ring = 2;
  const auto& names = reader.layout().label_names;
  const auto found = std::find(names.begin(), names.end(), label);
  if (found == names.end()) {
    std::string known;
    for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::usage,
                "--probe-label is '" + label + "': the dataset has the label columns " + known);
  }
  const auto column = static_cast<std::size_t>(found - names.begin());
  for (auto* list : {&train_, &test_})
    for (TrainSlice& slice : *list)
      slice.label = reader.cases()[static_cast<std::size_t>(slice.case_id)].labels[column];
  if (test_.empty())
    reason_ = "no subject is held back (--hold-back, or a split named val)";
  else if (classes_of(train_) < 2 || classes_of(test_) < 2)
    reason_ = "fewer than two classes of '" + label + "' on either side; hold back more subjects";
}

ProbeResult ProbePass::run(Encoder& encoder, const torch::Device& device) {
  struct Mode {
    Encoder& encoder;
    bool training = encoder.is_training();
    ~Mode() { encoder.train(training); }
  } const mode{encoder};
  encoder.eval();
  std::vector<TrainSlice> kept;
  const ProbeSlices known = embed(encoder, device, train_, kept);
  held_back_ = embed(encoder, device, test_, held_back_kept_);
  const std::size_t lost = train_.size() + test_.size() - kept.size() - held_back_kept_.size();
  if (lost > 0 && !warned_)
    log::warn(fmt::format("the probe goes without {} damaged slices of {}", lost,
                          train_.size() + test_.size()));
  warned_ = warned_ || lost > 0;
  return run_probe(known, held_back_);
}

ProbeSlices ProbePass::embed(Encoder& encoder, const torch::Device& device,
                             const std::vector<TrainSlice>& slices,
                             std::vector<TrainSlice>& kept) const {
  torch::NoGradGuard no_grad;
  const auto batches = static_cast<std::int64_t>((slices.size() + kBatch - 1) / kBatch);
  const auto source = [&](std::int64_t i) {
    std::vector<std::uint32_t> rows;
    for (std::size_t at = static_cast<std::size_t>(i) * kBatch;
         at < std::min(slices.size(), static_cast<std::size_t>(i + 1) * kBatch); ++at)
      rows.push_back(slices[at].row);
    return rows;
  };
  const std::int64_t side = loading_.image_size;
  std::vector<OnItsWay> parts;
  kept.clear();
  // Embed a batch without the slices for which the loader put in others.
  const auto take = [&](const BatchLease& lease) {
    std::vector<std::int64_t> sound;
    for (std::size_t i = 0; i < lease.rows().size(); ++i) {
      const TrainSlice& slice = slices[static_cast<std::size_t>(lease.number()) * kBatch + i];
      if (lease.rows()[i] != slice.row) continue;
      sound.push_back(static_cast<std::int64_t>(i));
      kept.push_back(slice);
    }
    auto* pixels = const_cast<std::int16_t*>(lease.images().data());
    const torch::Tensor hu =
        torch::from_blob(pixels, {static_cast<std::int64_t>(lease.rows().size()), side, side},
                         torch::kShort)
            .index_select(0, torch::tensor(sound, torch::kLong));
    parts.emplace_back(encoder.forward(plain_views(send(hu, device))));
    if (parts.size() > OnItsWay::kAhead) (void)parts[parts.size() - 1 - OnItsWay::kAhead].get();
  };
  std::int64_t next = 0;
  while (next < batches) {
    BatchLoader loader(reader_, source, next, loading_);
    try {
      while (const auto lease = loader.next()) {
        stop_if_interrupted("go on with --resume");
        take(*lease);
        ++next;
      }
    } catch (const Error& e) {
      // The loader ends at a batch without any sound slice; the probe goes on behind it.
      if (!loading_.skip_corrupt || e.code() != ErrorCode::corrupt) throw;
      ++next;
    }
  }
  ProbeSlices result;
  std::vector<torch::Tensor> features{torch::zeros({0, encoder.representation()}, torch::kDouble)};
  for (OnItsWay& part : parts) features.push_back(part.get().to(torch::kDouble));
  result.features = torch::cat(features, 0);
  for (const TrainSlice& slice : kept) {
    result.label.push_back(slice.label);
    result.subject.push_back(slice.subject);
  }
  return result;
}

}  // namespace wsp::train
