#include "preprocess/segment/batch_runner.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "io/core/parallel.hpp"

namespace wsp {
namespace {

constexpr std::size_t kInFlight = 3;  // filled, on the device, read back

struct Range {
  std::int64_t first = 0, count = 0;
};

BatchShape shape_of(const BatchJob& job, std::int64_t samples) {
  BatchShape shape = job.sample;
  shape.samples = samples;
  return shape;
}

void fill_sample(const BatchJob& job, Range range, std::int64_t i, NetworkSlot& slot) {
  const auto values = static_cast<std::size_t>(job.sample.channels * job.sample.voxels());
  job.fill(range.first + i, slot.input().subspan(static_cast<std::size_t>(i) * values, values));
}

void take_sample(const Network& network, const BatchJob& job, Range range, std::int64_t i,
                 const NetworkSlot& slot) {
  const auto count = static_cast<std::size_t>(network.outputs() * job.sample.voxels());
  const auto values = slot.output().subspan(static_cast<std::size_t>(i) * count, count);
  check_output(network, values);
  job.take(range.first + i, values);
}

void finish(const BatchJob& job, Range range) {
  if (job.finish) job.finish(range.first, range.count);
}

}  // namespace

void check_output(const Network& network, std::span<const float> values) {
  // Sums of rounded softmax channels; of logits only that they are finite.
  const float least = network.logits() > 0 ? -std::numeric_limits<float>::max() : -1e-3F;
  const float most = network.logits() > 0 ? std::numeric_limits<float>::max() : 1 + 1e-3F;
  bool valid = true;
  for (const float p : values) valid &= p >= least && p <= most;
  if (valid) return;
  for (const float p : values)
    if (!std::isfinite(p)) throw BadOutput("the model's output holds values that are not finite");
  throw BadOutput(
      "the model's output lies outside [0, 1]: its descriptor may name the wrong activation");
}

void BatchRunner::run(const BatchJob& job) {
  try {
    if (network_.concurrent())
      run_concurrently(job);
    else
      run_in_flight(job);
  } catch (const BadOutput& e) {
    if (network_.precision() != "fp16") throw;
    throw BadOutput(std::string(e.what()) +
                    "; fp16 ends at 65504: --precision bf16 or fp32 may do");
  }
}

void BatchRunner::run_concurrently(const BatchJob& job) {
  for (std::int64_t first = 0; first < job.count; first += job.piece) {
    const Range piece{first, std::min(job.piece, job.count - first)};
    job.prepare(piece.first, piece.count);
    const std::int64_t batches = (piece.count + job.batch - 1) / job.batch;
    wsp::parallel_loop(
        tbb::blocked_range<std::int64_t>(0, batches, 1),
        [&](const tbb::blocked_range<std::int64_t>& part) {
          auto slot = network_.take_slot(shape_of(job, job.batch));
          for (std::int64_t b = part.begin(); b < part.end(); ++b) {
            const Range range{first + b * job.batch,
                              std::min(job.batch, piece.count - b * job.batch)};
            for (std::int64_t i = 0; i < range.count; ++i) fill_sample(job, range, i, *slot);
            slot->start(shape_of(job, range.count));
            slot->wait();
            for (std::int64_t i = 0; i < range.count; ++i)
              take_sample(network_, job, range, i, *slot);
          }
          network_.give_back(std::move(slot));
        },
        tbb::simple_partitioner());
    finish(job, piece);
  }
}

void BatchRunner::run_in_flight(const BatchJob& job) {
  struct Flight {
    std::unique_ptr<NetworkSlot> slot;
    Range range;
  };
  std::vector<Flight> ring(kInFlight);
  const auto land = [&](Flight& flight) {
    if (flight.range.count == 0) return;
    flight.slot->wait();
    const Range range = std::exchange(flight.range, {});
    wsp::parallel_loop(std::int64_t{0}, range.count,
                       [&](std::int64_t i) { take_sample(network_, job, range, i, *flight.slot); });
    finish(job, range);
  };
  const std::int64_t batches = (job.count + job.batch - 1) / job.batch;
  for (std::int64_t b = 0; b < batches; ++b) {
    Flight& flight = ring[static_cast<std::size_t>(b) % kInFlight];
    land(flight);
    if (!flight.slot) flight.slot = network_.take_slot(shape_of(job, job.batch));
    const Range range{b * job.batch, std::min(job.batch, job.count - b * job.batch)};
    job.prepare(range.first, range.count);
    wsp::parallel_loop(std::int64_t{0}, range.count,
                       [&](std::int64_t i) { fill_sample(job, range, i, *flight.slot); });
    flight.slot->start(shape_of(job, range.count));
    flight.range = range;
  }
  for (std::int64_t b = batches; b < batches + static_cast<std::int64_t>(kInFlight); ++b)
    land(ring[static_cast<std::size_t>(b) % kInFlight]);
  for (Flight& flight : ring)
    if (flight.slot) network_.give_back(std::move(flight.slot));
}

}  // namespace wsp
