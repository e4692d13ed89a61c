#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>

#include "io/core/parallel.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/model_passes.hpp"
#include "preprocess/segment/sliding_window.hpp"

namespace wsp {
namespace {

using Index = std::array<std::int64_t, 3>;  // z, y, x

// Mean probabilities or logits on the network's grid: plane z [output][y][x]; not a number where no
// window was.
using Averages = std::map<std::int64_t, std::vector<float>>;
constexpr float kNoWindow = std::numeric_limits<float>::quiet_NaN();

// Part of the grid: first (inclusive) to end (exclusive).
struct Box {
  Index first{0, 0, 0}, end{0, 0, 0};
  [[nodiscard]] bool meets(const Index& start, const Index& patch) const {
    for (std::size_t a = 0; a < 3; ++a)
      if (start[a] >= end[a] || start[a] + patch[a] <= first[a]) return false;
    return true;
  }
};

class WindowPass {
 public:
  WindowPass(const ModelGrid& grid, const ModelDescriptor& model, Network& network)
      : model_(model), network_(network), size_(grid.size()), planes_(grid) {
    for (std::size_t t = 0; t < 3; ++t)
      patch_[2 - static_cast<std::size_t>(model.axes[t].volume_axis)] = model.patch[t];
    // Steps of the window's voxels [z][y][x] in the network's order.
    std::int64_t step = 1;
    for (std::size_t t = 3; t-- > 0;) {
      const auto axis = 2 - static_cast<std::size_t>(model.axes[t].volume_axis);
      tensor_step_[axis] = model.axes[t].reversed ? -step : step;
      if (model.axes[t].reversed) tensor_origin_ += (model.patch[t] - 1) * step;
      step *= model.patch[t];
    }
    outputs_ = static_cast<std::size_t>(network.outputs());
    voxels_ = static_cast<std::size_t>(step);
    weights_ = window_weights();
  }

  // Everything once, without overlap: the box about what may be liver, widened by half a window.
  std::optional<Box> find() {
    std::optional<Box> box;
    run_windows_of(windows(0, Box{{0, 0, 0}, size_}), [&](std::span<const Output> outputs) {
      for (const Output& output : outputs) widen(box, output);
    });
    if (!box) return box;
    for (std::size_t a = 0; a < 3; ++a) {
      box->first[a] = std::max<std::int64_t>(0, box->first[a] - patch_[a] / 2);
      box->end[a] = std::min(size_[a], box->end[a] + patch_[a] / 2);
    }
    return box;
  }

  // From the feet upwards: a plane is finished when no later window reaches it. take(planes, end)
  // gets those below `end` that were not among an earlier call's.
  using Take = std::function<void(Averages planes, std::int64_t end)>;
  void run(const Box& box, const Take& take) {
    take_ = take;
    run_windows_of(windows(model_.overlap, box),
                   [&](std::span<const Output> outputs) { add(outputs); });
    finish_planes(size_[0]);
  }

  [[nodiscard]] bool one_window() const { return size_ == patch_; }

 private:
  struct Sums {
    std::vector<float> weighted, weight;  // [output][y][x], [y][x]
  };

  // What the network made of a window, in its own order.
  struct Output {
    Index start{};
    std::vector<float> values;  // probability or logits
  };

  // Those of a window in the volume's directions; nnU-Net's are not symmetric.
  [[nodiscard]] std::vector<float> window_weights() const {
    if (!model_.nnunet) return gaussian_weights(patch_);
    const std::vector<float> in_tensor_order = nnunet_gaussian_weights(model_.patch);
    std::vector<float> weights;
    for (std::int64_t z = 0; z < patch_[0]; ++z)
      for (std::int64_t y = 0; y < patch_[1]; ++y)
        for (std::int64_t x = 0; x < patch_[2]; ++x)
          weights.push_back(in_tensor_order[static_cast<std::size_t>(
              tensor_origin_ + z * tensor_step_[0] + y * tensor_step_[1] + x * tensor_step_[2])]);
    return weights;
  }

  // Along axis a (z, y, x).
  [[nodiscard]] std::vector<std::int64_t> starts_along(std::size_t a, double overlap) const {
    if (!model_.nnunet || overlap != model_.overlap)
      return window_starts(size_[a], patch_[a], overlap);
    auto starts = nnunet_window_starts(size_[a], patch_[a]);
    for (const ModelAxis& axis : model_.axes)
      if (2 - static_cast<std::size_t>(axis.volume_axis) == a && axis.reversed) {
        for (std::int64_t& start : starts) start = size_[a] - patch_[a] - start;
        std::reverse(starts.begin(), starts.end());
      }
    return starts;
  }

  // Those that meet the box, by z, then y, then x.
  [[nodiscard]] std::vector<Index> windows(double overlap, const Box& box) const {
    std::array<std::vector<std::int64_t>, 3> starts;
    for (std::size_t a = 0; a < 3; ++a) starts[a] = starts_along(a, overlap);
    std::vector<Index> all;
    for (const std::int64_t z : starts[0])
      for (const std::int64_t y : starts[1])
        for (const std::int64_t x : starts[2])
          if (box.meets({z, y, x}, patch_)) all.push_back({z, y, x});
    return all;
  }

  // Visits a window's rows: (z in the window, index of the first voxel in the network's tensor, y *
  // width + x of it in the grid).
  template <class Visit>
  void for_each_row(const Index& start, Visit visit) const {
    for (std::int64_t z = 0; z < patch_[0]; ++z)
      for (std::int64_t y = 0; y < patch_[1]; ++y)
        visit(z, tensor_origin_ + z * tensor_step_[0] + y * tensor_step_[1],
              (start[1] + y) * size_[2] + start[2]);
  }

  // Calls done(outputs) with those of some consecutive windows after another, in the windows'
  // order.
  template <class Done>
  void run_windows_of(const std::vector<Index>& windows, Done done) {
    std::vector<Output> outputs;
    for (const Index& start : windows) outputs.push_back({start, {}});
    BatchJob job;
    job.sample = {1, 1, model_.patch};
    job.count = static_cast<std::int64_t>(windows.size());
    job.batch = network_.batch(model_.dimensions);
    // Windows whose outputs are held at once on a CPU; logits of many labels are large.
    const std::int64_t threads = tbb::this_task_arena::max_concurrency();
    const auto held = network_.logits() > 0 ? std::clamp<std::int64_t>(threads, 1, 16)
                                            : std::clamp<std::int64_t>(2 * threads, 4, 16);
    job.piece = (held + job.batch - 1) / job.batch * job.batch;
    job.prepare = [&](std::int64_t first, std::int64_t count) {
      std::vector<std::int64_t> wanted;
      for (std::int64_t i = first; i < first + count; ++i)
        for (std::int64_t z = 0; z < patch_[0]; ++z)
          wanted.push_back(windows[static_cast<std::size_t>(i)][0] + z);
      planes_.hold(std::move(wanted));
    };
    job.fill = [&](std::int64_t i, std::span<float> input) {
      const Index& start = windows[static_cast<std::size_t>(i)];
      for_each_row(start, [&](std::int64_t z, std::int64_t tensor, std::int64_t in_plane) {
        const float* row = planes_.at(start[0] + z).data() + in_plane;
        for (std::int64_t x = 0; x < patch_[2]; ++x)
          input[static_cast<std::size_t>(tensor + x * tensor_step_[2])] = row[x];
      });
    };
    job.take = [&](std::int64_t i, std::span<const float> output) {
      outputs[static_cast<std::size_t>(i)].values.assign(output.begin(), output.end());
    };
    job.finish = [&](std::int64_t first, std::int64_t count) {
      const auto part = std::span(outputs).subspan(static_cast<std::size_t>(first),
                                                   static_cast<std::size_t>(count));
      done(part);
      for (Output& output : part)
        std::vector<float>().swap(output.values);  // = {} would keep the memory
    };
    BatchRunner(network_).run(job);
  }

  // Sums are made window by window in one order, so that they round alike at any number of threads.
  void add(std::span<const Output> outputs) {
    while (!outputs.empty()) {
      const std::int64_t z = outputs.front().start[0];
      const auto end = std::find_if(outputs.begin(), outputs.end(),
                                    [&](const Output& output) { return output.start[0] != z; });
      const auto layer = outputs.first(static_cast<std::size_t>(end - outputs.begin()));
      finish_planes(z);
      for (std::int64_t k = 0; k < patch_[0]; ++k) {
        Sums& sums = sums_[z + k];
        sums.weight.resize(static_cast<std::size_t>(size_[1] * size_[2]));
        sums.weighted.resize(outputs_ * sums.weight.size());
      }
      wsp::parallel_loop(std::int64_t{0}, patch_[0], [&](std::int64_t plane) {
        for (const Output& output : layer) add_plane(output, plane);
      });
      outputs = outputs.subspan(layer.size());
    }
  }

  void add_plane(const Output& output, std::int64_t z) {
    const Index& start = output.start;
    Sums& sums = sums_.at(start[0] + z);
    for (std::int64_t y = 0; y < patch_[1]; ++y) {
      const std::int64_t tensor = tensor_origin_ + z * tensor_step_[0] + y * tensor_step_[1];
      const auto at = static_cast<std::size_t>((start[1] + y) * size_[2] + start[2]);
      const float* w = weights_.data() + (z * patch_[1] + y) * patch_[2];
      for (std::size_t c = 0; c < outputs_; ++c) {
        float* sum = sums.weighted.data() + c * sums.weight.size() + at;
        const float* value = output.values.data() + c * voxels_ + tensor;
        for (std::int64_t x = 0; x < patch_[2]; ++x) sum[x] += w[x] * value[x * tensor_step_[2]];
      }
      for (std::int64_t x = 0; x < patch_[2]; ++x)
        sums.weight[at + static_cast<std::size_t>(x)] += w[x];
    }
  }

  void finish_planes(std::int64_t end) {
    std::vector<std::pair<std::int64_t, Sums>> finished;
    for (; !sums_.empty() && sums_.begin()->first < end; sums_.erase(sums_.begin()))
      finished.emplace_back(sums_.begin()->first, std::move(sums_.begin()->second));
    wsp::parallel_loop(std::size_t{0}, finished.size(), [&](std::size_t p) {
      Sums& sums = finished[p].second;
      for (std::size_t i = 0; i < sums.weighted.size(); ++i) {
        const float weight = sums.weight[i % sums.weight.size()];
        sums.weighted[i] = weight > 0 ? sums.weighted[i] / weight : kNoWindow;
      }
    });
    Averages planes;
    for (auto& [z, sums] : finished) planes.emplace(z, std::move(sums.weighted));
    take_(std::move(planes), end);
  }

  [[nodiscard]] float liver_of(const std::vector<float>& values, std::size_t voxel) const {
    return model_.nnunet ? nnunet_voxel(*model_.nnunet, values.data() + voxel, voxels_).probability
                         : values[voxel];
  }

  void widen(std::optional<Box>& box, const Output& output) const {
    const Index& start = output.start;
    const auto least = static_cast<float>(coarse_threshold(model_));
    for_each_row(start, [&](std::int64_t z, std::int64_t tensor, std::int64_t in_plane) {
      for (std::int64_t x = 0; x < patch_[2]; ++x) {
        const auto voxel = static_cast<std::size_t>(tensor + x * tensor_step_[2]);
        if (!(liver_of(output.values, voxel) >= least)) continue;
        const Index at{start[0] + z, in_plane / size_[2], start[2] + x};
        if (!box) box = Box{at, at};
        for (std::size_t a = 0; a < 3; ++a) {
          box->first[a] = std::min(box->first[a], at[a]);
          box->end[a] = std::max(box->end[a], at[a] + 1);
        }
      }
    });
  }

  const ModelDescriptor& model_;
  Network& network_;
  Index size_, patch_{}, tensor_step_{};
  std::int64_t tensor_origin_ = 0;
  std::vector<float> weights_;
  HeldPlanes planes_;
  std::map<std::int64_t, Sums> sums_;
  Take take_;
  std::size_t outputs_ = 1, voxels_ = 0;  // of a voxel; of a window
};

// The box in which to slide.
std::optional<Box> box_of(WindowPass& pass, const ModelGrid& grid, const SegmentationPlan& plan) {
  if (plan.coarse_mm > 0 && !pass.one_window()) return pass.find();
  return Box{{0, 0, 0}, grid.size()};
}

// Brings an nnU-Net's averaged logits to the volume's slices as soon as all that a slice takes is
// there.
class NativeSlices {
 public:
  NativeSlices(const Volume& volume, const ModelGrid& grid, const NnunetModel& model)
      : volume_(volume), grid_(grid), model_(model) {
    result_.mask.geometry = volume.geometry;
    result_.mask.voxels.resize(volume.hu.size());
    result_.probability.resize(volume.hu.size());
  }

  void take(Averages planes, std::int64_t end) {
    held_.merge(planes);
    const std::int64_t first = next_;
    while (next_ < volume_.geometry.size[2] && grid_.planes_of(next_)[1] <= end) ++next_;
    wsp::parallel_loop(first, next_, [&](std::int64_t z) { judge(z); });
    if (next_ < volume_.geometry.size[2])
      held_.erase(held_.begin(), held_.lower_bound(grid_.planes_of(next_)[0]));
  }

  Segmentation result() { return std::move(result_); }

 private:
  void judge(std::int64_t z) {
    const auto [first, end] = grid_.planes_of(z);
    std::vector<const float*> planes;
    for (std::int64_t p = first; p < end; ++p) {
      const auto plane = held_.find(p);
      if (plane == held_.end()) return;  // no window reached it
      planes.push_back(plane->second.data());
    }
    if (planes.empty()) return;
    const std::vector<float> maps = grid_.native_maps(z, model_.heads(), planes);
    const auto area = static_cast<std::size_t>(volume_.geometry.slice_voxels());
    const std::size_t at = static_cast<std::size_t>(z) * area;
    for (std::size_t i = 0; i < area; ++i) {
      const NnunetVoxel voxel = nnunet_voxel(model_, maps.data() + i, area);
      result_.mask.voxels[at + i] = voxel.liver ? 1 : 0;
      result_.probability[at + i] = static_cast<std::uint8_t>(std::lround(voxel.probability * 255));
    }
  }

  const Volume& volume_;
  const ModelGrid& grid_;
  const NnunetModel& model_;
  Averages held_;
  std::int64_t next_ = 0;
  Segmentation result_;
};

}  // namespace

Probabilities run_windows(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                          const SegmentationPlan& plan) {
  WindowPass pass(grid, model, network);
  Probabilities result(static_cast<std::size_t>(grid.size()[0]));
  if (const auto box = box_of(pass, grid, plan))
    pass.run(*box, [&](Averages planes, std::int64_t) {
      for (const auto& [z, plane] : planes) {
        auto& quantised_plane = result[static_cast<std::size_t>(z)];
        for (const float p : plane) quantised_plane.push_back(std::isnan(p) ? 0 : quantised(p));
      }
    });
  return result;
}

Segmentation run_nnunet(const Volume& volume, const ModelGrid& grid, const ModelDescriptor& model,
                        Network& network, const SegmentationPlan& plan) {
  WindowPass pass(grid, model, network);
  NativeSlices slices(volume, grid, *model.nnunet);
  const SegmentationPlan whole{model.dimensions == 3 ? plan.coarse_mm : 0};
  if (const auto box = box_of(pass, grid, whole))
    pass.run(*box, [&](Averages planes, std::int64_t end) { slices.take(std::move(planes), end); });
  return slices.result();
}

}  // namespace wsp
