#include "train/run/batches.hpp"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/data/slice_cache.hpp"
#include "train/run/device.hpp"

namespace wsp::train {
namespace {

// Torch's pinned memory, from which `side` copies, kept alive until it is released. Where the card
// was lost it is leaked: LibTorch asks the card before it frees what was copied from.
BufferAllocator pinned_allocator(const c10::Stream& side) {
  auto held = std::make_shared<std::map<void*, torch::Tensor>>();
  return {[held](std::size_t bytes) {
            torch::Tensor block = torch::empty({static_cast<std::int64_t>(bytes)},
                                               torch::dtype(torch::kUInt8).pinned_memory(true));
            void* address = block.data_ptr();
            held->emplace(address, std::move(block));
            return address;
          },
          [held, side](void* address) {
            const auto block = held->find(address);
            try {
              (void)side.query();
            } catch (const std::exception&) {
              (void)block->second.unsafeReleaseTensorImpl();
            }
            held->erase(block);
          }};
}

constexpr std::int64_t kDamaged = -1, kNotCached = -2;
constexpr std::size_t kFillBatch = 64;

// Bytes that the device has free; 0 where it does not say.
std::uint64_t free_bytes(const torch::Device& device) {
  if (device.is_cpu()) return free_memory_bytes();
  // Asked of CUDA's runtime by name: it is loaded with Torch, and this file builds without its
  // headers.
  using MemGetInfo = int (*)(std::size_t*, std::size_t*);
  const auto ask = reinterpret_cast<MemGetInfo>(::dlsym(RTLD_DEFAULT, "cudaMemGetInfo"));
  const c10::impl::VirtualGuardImpl guard(device.type());
  const torch::Device before = guard.exchangeDevice(device);
  std::size_t free = 0, total = 0;
  if (ask == nullptr || ask(&free, &total) != 0) free = 0;
  guard.setDevice(before);
  return free;
}

}  // namespace

DeviceBatch::~DeviceBatch() {
  try {
    if (used_on) (void)used_on->query();
  } catch (const std::exception&) {
    (void)hu.unsafeReleaseTensorImpl();
    (void)masks.unsafeReleaseTensorImpl();
  }
}

DeviceBatch& DeviceBatch::operator=(DeviceBatch&& other) noexcept {
  std::swap(number, other.number);  // what was here goes by the destructor
  std::swap(hu, other.hu);
  std::swap(masks, other.masks);
  std::swap(rows, other.rows);
  std::swap(lease, other.lease);
  std::swap(used_on, other.used_on);
  return *this;
}

DeviceCache::DeviceCache(const DatasetReader& reader, LoaderOptions options,
                         const torch::Device& device)
    : place_(reader.slices().size(), kNotCached) {
  std::vector<std::uint32_t> rows = options.cache_rows;
  if (rows.empty()) {
    rows.resize(reader.slices().size());
    std::iota(rows.begin(), rows.end(), 0U);
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t side = options.image_size;
  const std::uint64_t bytes = static_cast<std::uint64_t>(count * side * side) * 2;
  const std::uint64_t free = free_bytes(device);
  const std::uint64_t limit = options.cache_limit_bytes > 0 ? options.cache_limit_bytes : free / 2;
  const auto does_not_fit = [&](const std::string& why) {
    return Error(
        ErrorCode::failure,
        fmt::format("--cache device: {} slices of {}x{} need {} on {}{}: use --cache ram or "
                    "none, or a smaller --image-size",
                    count, side, side, readable_bytes(bytes), device.str(), why));
  };
  if (limit > 0 && bytes > limit)
    throw does_not_fit(
        fmt::format(" and may use {}{}", readable_bytes(limit),
                    options.cache_limit_bytes > 0
                        ? ""
                        : fmt::format(", half of the {} that are free", readable_bytes(free))));
  try {
    slices_ = torch::empty({count, side, side}, torch::TensorOptions(device).dtype(torch::kShort));
  } catch (const std::exception& e) {
    if (!is_out_of_memory(e)) throw;
    throw does_not_fit(", which has too little free");
  }
  fill(reader, std::move(options), rows);
}

void DeviceCache::fill(const DatasetReader& reader, LoaderOptions options,
                       const std::vector<std::uint32_t>& rows) {
  // Batches reach over the whole set, so that one damaged case makes none without a sound slice.
  const std::size_t stride = (rows.size() + kFillBatch - 1) / kFillBatch;
  const auto source = [&](std::int64_t i) {
    std::vector<std::uint32_t> batch;
    if (static_cast<std::size_t>(i) < stride)
      for (std::size_t at = static_cast<std::size_t>(i); at < rows.size(); at += stride)
        batch.push_back(rows[at]);
    return batch;
  };
  const std::int64_t side = options.image_size;
  options.cache = CacheMode::none;
  options.ring = 2;
  BatchLoader loader(reader, source, 0, std::move(options));
  while (const auto lease = loader.next()) {
    stop_if_interrupted("no step was made yet; run the same command again");
    const auto m = static_cast<std::int64_t>(lease->rows().size());
    auto* pixels = const_cast<std::int16_t*>(lease->images().data());
    const torch::Tensor host = torch::from_blob(pixels, {m, side, side}, torch::kShort);
    const auto first = lease->number(), step = static_cast<std::int64_t>(stride);
    slices_.slice(0, first, slices_.size(0), step).copy_(host);
    for (std::int64_t i = 0; i < m; ++i) {
      const std::int64_t place = first + i * step;
      const std::uint32_t row = rows[static_cast<std::size_t>(place)];
      place_[row] = lease->rows()[static_cast<std::size_t>(i)] == row ? place : kDamaged;
    }
  }
}

std::int64_t DeviceCache::gather(std::vector<std::uint32_t>& rows, torch::Tensor& hu) const {
  const std::size_t n = rows.size();
  torch::Tensor places = torch::empty({static_cast<std::int64_t>(n)}, torch::kLong);
  auto* place = places.data_ptr<std::int64_t>();
  std::vector<std::size_t> damaged;
  for (std::size_t i = 0; i < n; ++i) {
    place[i] = place_.at(rows[i]);
    if (place[i] == kNotCached)
      throw Error(ErrorCode::failure,
                  fmt::format("slice {} was drawn, which is not cached", rows[i]));
    if (place[i] == kDamaged) damaged.push_back(i);
  }
  if (n > 0 && damaged.size() == n)
    throw Error(ErrorCode::corrupt, "a batch holds no sound slice; run wsp-ingest verify");
  for (const std::size_t i : damaged) {
    std::size_t from = i;
    do from = (from + 1) % n;
    while (place_[rows[from]] < 0 || std::binary_search(damaged.begin(), damaged.end(), from));
    rows[i] = rows[from];
    place[i] = place[from];
  }
  hu = slices_.index_select(0, send(places, slices_.device()));
  return static_cast<std::int64_t>(damaged.size());
}

DeviceBatches::DeviceBatches(const DatasetReader& reader, BatchLoader::Source source,
                             std::int64_t first, LoaderOptions options, const torch::Device& device)
    : device_(device), image_size_(options.image_size) {
  if (options.cache == CacheMode::device) {
    if (options.masks)
      throw Error(ErrorCode::usage, "--cache device keeps no masks: use --cache ram");
    source_ = std::move(source);
    next_number_ = first;
    cache_ = std::make_unique<DeviceCache>(reader, std::move(options), device);
    return;
  }
  if (!device.is_cpu()) {
    side_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    options.allocator = pinned_allocator(*side_);
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
  torch::Tensor host_masks;
  if (!lease->masks().empty()) {
    auto* labels = const_cast<std::uint8_t*>(lease->masks().data());
    host_masks = torch::from_blob(labels, {m, image_size_, image_size_}, torch::kByte);
  }
  if (side_) {
    const c10::StreamGuard guard(*side_);
    batch.hu = host.to(device_, /*non_blocking=*/true);
    if (host_masks.defined()) batch.masks = host_masks.to(device_, /*non_blocking=*/true);
    flight.ready.emplace(device_.type());
    flight.ready->record(*side_);
  } else {
    batch.hu = host;
    batch.masks = host_masks;
  }
  batch.lease = std::move(*lease);
  return flight;
}

std::optional<DeviceBatch> DeviceBatches::next_cached() {
  const auto begin = std::chrono::steady_clock::now();
  DeviceBatch batch;
  batch.number = next_number_++;
  batch.rows = source_(batch.number);
  if (batch.rows.empty()) return std::nullopt;
  const std::int64_t replaced = cache_->gather(batch.rows, batch.hu);
  if (replaced > 0 && statistics_.corrupt_slices == 0)
    log::warn(
        fmt::format("batch {} holds corrupt slices; they are replaced by others of the batch "
                    "and counted; run wsp-ingest verify to find all of them",
                    batch.number));
  statistics_.corrupt_slices += replaced;
  statistics_.slices += std::ssize(batch.rows);
  statistics_.cache_hits += std::ssize(batch.rows) - replaced;
  statistics_.waited_s +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return batch;
}

std::optional<DeviceBatch> DeviceBatches::next() {
  if (cache_) return next_cached();
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
  now.batch.used_on = stream;
  now.batch.hu.record_stream(stream);
  if (now.batch.masks.defined()) now.batch.masks.record_stream(stream);
  // Started a batch ago, the copy is done by now as a rule; then the loader may fill the slot
  // again.
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
  if (!set_.values.empty()) {
    targets.value = torch::empty({n}, torch::kDouble);
    auto* value = targets.value.data_ptr<double>();
    for (std::size_t i = 0; i < rows.size(); ++i) value[i] = set_.values[rows[i]];
    targets.value = send(targets.value, device);
  }
  if (!discrete.empty()) targets.discrete = send(torch::stack(discrete), device);
  if (!continuous.empty()) targets.continuous = send(torch::stack(continuous), device);
  targets.label = send(targets.label, device);
  targets.depth = send(targets.depth, device);
  return targets;
}

}  // namespace wsp::train
