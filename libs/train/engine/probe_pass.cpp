#include "train/engine/probe_pass.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "io/core/error.hpp"
#include "train/engine/batches.hpp"
#include "train/engine/views.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kSlicesPerCase = 4;   // evenly spread over the case
constexpr std::size_t kMostSlices = 2000;   // on each side
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
                     std::int64_t image_size, int workers)
    : reader_(reader),
      image_size_(image_size),
      workers_(workers),
      train_(spread(set.slices)),
      test_(spread(set.held_back)) {
  const auto& names = reader.layout().label_names;
  const auto found = std::find(names.begin(), names.end(), label);
  if (found == names.end()) {
    std::string known;
    for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::usage, "--probe-label is '" + label +
                                      "': the dataset has the label columns " + known);
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
  const bool training = encoder.is_training();
  encoder.eval();
  const ProbeSlices known = embed(encoder, device, train_);
  held_back_ = embed(encoder, device, test_);
  encoder.train(training);
  return run_probe(known, held_back_);
}

ProbeSlices ProbePass::embed(Encoder& encoder, const torch::Device& device,
                             const std::vector<TrainSlice>& slices) const {
  torch::NoGradGuard no_grad;
  const auto source = [&](std::int64_t i) {
    std::vector<std::uint32_t> rows;
    for (std::size_t at = static_cast<std::size_t>(i) * kBatch;
         at < std::min(slices.size(), static_cast<std::size_t>(i + 1) * kBatch); ++at)
      rows.push_back(slices[at].row);
    return rows;
  };
  LoaderOptions options;
  options.image_size = image_size_;
  options.workers = workers_;
  options.ring = 2;
  DeviceBatches batches(reader_, source, 0, options, device);
  std::vector<torch::Tensor> parts;
  while (auto batch = batches.next())
    parts.push_back(encoder.forward(plain_views(batch->hu)).to(torch::kCPU, torch::kDouble));
  ProbeSlices result;
  result.features = torch::cat(parts, 0);
  for (const TrainSlice& slice : slices) {
    result.label.push_back(slice.label);
    result.subject.push_back(slice.subject);
  }
  return result;
}

}  // namespace wsp::train
