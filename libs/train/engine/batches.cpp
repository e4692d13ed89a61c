#include "train/engine/batches.hpp"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <thread>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

BufferAllocator pinned_allocator() {
  // Torch's pinned memory, kept alive until it is released.
  auto held = std::make_shared<std::map<void*, torch::Tensor>>();
  return {[held](std::size_t bytes) {
            torch::Tensor block = torch::empty({static_cast<std::int64_t>(bytes)},
                                               torch::dtype(torch::kUInt8).pinned_memory(true));
            void* address = block.data_ptr();
            held->emplace(address, std::move(block));
            return address;
          },
          [held](void* address) { held->erase(address); }};
}

}  // namespace

DeviceBatches::DeviceBatches(const DatasetReader& reader, BatchLoader::Source source,
                             std::int64_t first, LoaderOptions options, const torch::Device& device)
    : device_(device), image_size_(options.image_size) {
  if (!device.is_cpu()) {
    options.allocator = pinned_allocator();
    side_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  }
  loader_ = std::make_unique<BatchLoader>(reader, std::move(source), first, std::move(options));
}

std::optional<DeviceBatches::Flight> DeviceBatches::fetch() {
  auto lease = loader_->next();
  if (!lease) return std::nullopt;
  Flight flight;
  DeviceBatch& batch = flight.batch;
  batch.number = lease->number();
  batch.rows.assign(lease->rows().begin(), lease->rows().end());
  const auto m = static_cast<std::int64_t>(batch.rows.size());
  // The tensor only reads: the loader's slot stays ours while the lease lives.
  auto* pixels = const_cast<std::int16_t*>(lease->images().data());
  const auto host = torch::from_blob(pixels, {m, image_size_, image_size_}, torch::kShort);
  if (side_) {
    const c10::StreamGuard guard(*side_);
    batch.hu = host.to(device_, /*non_blocking=*/true);
    flight.ready.emplace(device_.type());
    flight.ready->record(*side_);
  } else {
    batch.hu = host;
  }
  batch.lease = std::move(*lease);
  return flight;
}

std::optional<DeviceBatch> DeviceBatches::next() {
  if (!side_) {
    auto flight = fetch();
    if (!flight) return std::nullopt;
    return std::move(flight->batch);
  }
  if (!started_) ahead_ = fetch();
  started_ = true;
  if (!ahead_) return std::nullopt;
  Flight now = std::move(*ahead_);
  ahead_ = fetch();
  const auto stream = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  now.ready->block(stream);
  now.batch.hu.record_stream(stream);
  // Started a batch ago, the copy is done by now as a rule; then the loader may fill the slot again.
  while (!now.ready->query()) std::this_thread::yield();
  now.batch.lease = BatchLease();
  return std::move(now.batch);
}

TargetTable::TargetTable(const TrainingSet& set, std::size_t index_rows)
    : set_(set), by_row_(index_rows, nullptr) {
  for (const auto* list : {&set.slices, &set.held_back})
    for (const TrainSlice& slice : *list) by_row_.at(slice.row) = &slice;
}

const TrainSlice& TargetTable::slice(std::uint32_t row) const {
  const TrainSlice* found = by_row_.at(row);
  if (found == nullptr) throw Error(ErrorCode::failure, "a slice was drawn that is in no split");
  return *found;
}

Targets TargetTable::targets(std::span<const std::uint32_t> rows,
                             const torch::Device& device) const {
  const auto n = static_cast<std::int64_t>(rows.size());
  Targets targets;
  targets.label = torch::empty({n}, torch::kLong);
  targets.depth = torch::empty({n}, torch::kDouble);
  auto* label = targets.label.data_ptr<std::int64_t>();
  auto* depth = targets.depth.data_ptr<double>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const TrainSlice& s = slice(rows[i]);
    label[i] = s.label;
    depth[i] = s.depth;
  }
  std::vector<torch::Tensor> discrete, continuous;
  for (std::size_t c = 0; c < set_.columns.size(); ++c) {
    torch::Tensor values = torch::empty({n}, torch::kDouble);
    auto* value = values.data_ptr<double>();
    for (std::size_t i = 0; i < rows.size(); ++i) value[i] = set_.column_values[c][rows[i]];
    if (const auto& sigma = set_.columns[c].sigma) {
      continuous.push_back(values);
      targets.continuous_sigma.push_back(*sigma);
    } else {
      discrete.push_back(values.to(torch::kLong));
    }
  }
  if (!discrete.empty()) targets.discrete = torch::stack(discrete).to(device);
  if (!continuous.empty()) targets.continuous = torch::stack(continuous).to(device);
  targets.label = targets.label.to(device, /*non_blocking=*/true);
  targets.depth = targets.depth.to(device, /*non_blocking=*/true);
  return targets;
}

}  // namespace wsp::train
