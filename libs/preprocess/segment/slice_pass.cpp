#include <algorithm>
#include <cmath>

#include "preprocess/ops/slice_context.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/model_passes.hpp"

namespace wsp {
namespace {

// A plane of the grid [y][x] as rows and columns of the network, or back.
class PlaneOrder {
 public:
  PlaneOrder(const ModelGrid& grid, const ModelDescriptor& model)
      : height_(grid.size()[1]),
        width_(grid.size()[2]),
        rows_are_y_(model.axes[1].volume_axis == 1),
        rows_reversed_(model.axes[1].reversed),
        columns_reversed_(model.axes[2].reversed) {}

  [[nodiscard]] std::int64_t rows() const { return rows_are_y_ ? height_ : width_; }
  [[nodiscard]] std::int64_t columns() const { return rows_are_y_ ? width_ : height_; }

  /// Calls visit(index in the network's slice, index in the plane) for every pixel.
  template <class Visit>
  void for_each(Visit visit) const {
    const std::int64_t row_step = rows_are_y_ ? width_ : 1, column_step = rows_are_y_ ? 1 : width_;
    std::size_t at = 0;
    for (std::int64_t r = 0; r < rows(); ++r)
      for (std::int64_t c = 0; c < columns(); ++c)
        visit(at++,
              static_cast<std::size_t>((rows_reversed_ ? rows() - 1 - r : r) * row_step +
                                       (columns_reversed_ ? columns() - 1 - c : c) * column_step));
  }

 private:
  std::int64_t height_, width_;
  bool rows_are_y_, rows_reversed_, columns_reversed_;
};

class SlicePass {
 public:
  SlicePass(const ModelGrid& grid, const ModelDescriptor& model, Network& network)
      : grid_(grid),
        model_(model),
        network_(network),
        order_(grid, model),
        depth_(grid.size()[0]),
        result_(static_cast<std::size_t>(depth_)) {}

  void run(const std::vector<std::int64_t>& slices) {
    const auto offsets =
        context_offsets(model_.neighbours, model_.context_mm, grid_.spacing_mm()[0]);
    const auto within = [&](std::int64_t z) { return std::clamp<std::int64_t>(z, 0, depth_ - 1); };
    HeldPlanes planes(grid_);
    BatchJob job;
    job.sample = {1, model_.channels(), {1, order_.rows(), order_.columns()}};
    job.count = static_cast<std::int64_t>(slices.size());
    job.batch = network_.batch(2);
    job.piece = (kPiece + job.batch - 1) / job.batch * job.batch;
    job.prepare = [&](std::int64_t first, std::int64_t count) {
      std::vector<std::int64_t> wanted;
      for (std::int64_t i = first; i < first + count; ++i)
        for (const std::int64_t away : offsets)
          wanted.push_back(within(slices[static_cast<std::size_t>(i)] + away));
      planes.hold(std::move(wanted));
    };
    job.fill = [&](std::int64_t i, std::span<float> input) {
      const auto pixels = static_cast<std::size_t>(grid_.plane_size());
      for (std::int64_t c = 0; c < model_.channels(); ++c) {
        const std::int64_t channel = model_.axes[0].reversed ? model_.channels() - 1 - c : c;
        const std::int64_t away = offsets[static_cast<std::size_t>(channel)];
        const auto& plane = planes.at(within(slices[static_cast<std::size_t>(i)] + away));
        float* out = input.data() + static_cast<std::size_t>(c) * pixels;
        order_.for_each([&](std::size_t to, std::size_t from) { out[to] = plane[from]; });
      }
    };
    job.take = [&](std::int64_t i, std::span<const float> output) {
      auto& plane = result_[static_cast<std::size_t>(slices[static_cast<std::size_t>(i)])];
      plane.resize(output.size());
      order_.for_each(
          [&](std::size_t from, std::size_t to) { plane[to] = quantised(output[from]); });
    };
    BatchRunner(network_).run(job);
  }

  [[nodiscard]] bool may_hold_liver(std::int64_t z) const {
    constexpr double kLeastMm2 = 50;
    const auto least = quantised(static_cast<float>(coarse_threshold(model_)));
    const auto& plane = result_[static_cast<std::size_t>(z)];
    const auto pixels =
        std::count_if(plane.begin(), plane.end(), [&](std::uint16_t p) { return p >= least; });
    return pixels > 0 &&
           static_cast<double>(pixels) * grid_.spacing_mm()[1] * grid_.spacing_mm()[2] >= kLeastMm2;
  }

  Probabilities take_result() { return std::move(result_); }

 private:
  static constexpr std::int64_t kPiece = 64;  // slices whose planes are held at once on a CPU

  const ModelGrid& grid_;
  const ModelDescriptor& model_;
  Network& network_;
  PlaneOrder order_;
  std::int64_t depth_;
  Probabilities result_;
};

}  // namespace

std::uint16_t quantised(float probability) {
  return static_cast<std::uint16_t>(std::clamp(probability, 0.0F, 1.0F) * 65535.0F + 0.5F);
}

Probabilities run_slices(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                         const SegmentationPlan& plan) {
  SlicePass pass(grid, model, network);
  const std::int64_t depth = grid.size()[0];
  const auto stride =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(plan.coarse_mm / grid.spacing_mm()[0]));
  std::vector<std::int64_t> coarse;
  for (std::int64_t z = std::min(stride / 2, depth - 1); z < depth; z += stride)
    coarse.push_back(z);
  if (stride > 1 && coarse.back() != depth - 1) coarse.push_back(depth - 1);
  pass.run(coarse);
  if (stride == 1) return pass.take_result();
  // Between a slice with liver and the next without it the liver ends; one slice more is for
  // safety.
  std::vector<bool> wanted(static_cast<std::size_t>(depth), false);
  for (const std::int64_t z : coarse)
    if (pass.may_hold_liver(z))
      for (std::int64_t n = std::max<std::int64_t>(0, z - stride - 1);
           n <= std::min(depth - 1, z + stride + 1); ++n)
        wanted[static_cast<std::size_t>(n)] = true;
  for (const std::int64_t z : coarse) wanted[static_cast<std::size_t>(z)] = false;  // are there
  std::vector<std::int64_t> fine;
  for (std::int64_t z = 0; z < depth; ++z)
    if (wanted[static_cast<std::size_t>(z)]) fine.push_back(z);
  pass.run(fine);
  return pass.take_result();
}

}  // namespace wsp
