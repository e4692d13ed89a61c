#include <tbb/task_arena.h>

#include <algorithm>
#include <map>
#include <optional>

#include "io/core/parallel.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/model_passes.hpp"
#include "preprocess/segment/sliding_window.hpp"

namespace wsp {
namespace {

using Index = std::array<std::int64_t, 3>;  // z, y, x

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
    weights_ = gaussian_weights(patch_);
    // Steps of the window's voxels [z][y][x] in the network's order.
    std::int64_t step = 1;
    for (std::size_t t = 3; t-- > 0;) {
      const auto axis = 2 - static_cast<std::size_t>(model.axes[t].volume_axis);
      tensor_step_[axis] = model.axes[t].reversed ? -step : step;
      if (model.axes[t].reversed) tensor_origin_ += (model.patch[t] - 1) * step;
      step *= model.patch[t];
    }
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

  // From the feet upwards: a plane is finished when no later window reaches it.
  Probabilities run(const Box& box) {
    result_.assign(static_cast<std::size_t>(size_[0]), {});
    run_windows_of(windows(model_.overlap, box),
                   [&](std::span<const Output> outputs) { add(outputs); });
    finish_planes(size_[0]);
    return std::move(result_);
  }

  [[nodiscard]] bool one_window() const { return size_ == patch_; }

 private:
  struct Sums {
    std::vector<float> weighted, weight;  // [y][x]
  };

  // What the network made of a window, in its own order.
  struct Output {
    Index start{};
    std::vector<float> probability;
  };

  // Those that meet the box, by z, then y, then x.
  [[nodiscard]] std::vector<Index> windows(double overlap, const Box& box) const {
    std::array<std::vector<std::int64_t>, 3> starts;
    for (std::size_t a = 0; a < 3; ++a) starts[a] = window_starts(size_[a], patch_[a], overlap);
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
    job.batch = network_.batch(3);
    // Windows whose outputs are held at once on a CPU.
    const auto held = std::clamp<std::int64_t>(2 * tbb::this_task_arena::max_concurrency(), 4, 16);
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
      outputs[static_cast<std::size_t>(i)].probability.assign(output.begin(), output.end());
    };
    job.finish = [&](std::int64_t first, std::int64_t count) {
      const auto part = std::span(outputs).subspan(static_cast<std::size_t>(first),
                                                   static_cast<std::size_t>(count));
      done(part);
      for (Output& output : part)
        std::vector<float>().swap(output.probability);  // = {} would keep the memory
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
        sums.weighted.resize(static_cast<std::size_t>(size_[1] * size_[2]));
        sums.weight.resize(sums.weighted.size());
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
      for (std::int64_t x = 0; x < patch_[2]; ++x) {
        const auto i = static_cast<std::size_t>(x);
        sums.weighted[at + i] +=
            w[x] * output.probability[static_cast<std::size_t>(tensor + x * tensor_step_[2])];
        sums.weight[at + i] += w[x];
      }
    }
  }

  void finish_planes(std::int64_t end) {
    while (!sums_.empty() && sums_.begin()->first < end) {
      const auto& [z, sums] = *sums_.begin();
      auto& plane = result_[static_cast<std::size_t>(z)];
      plane.resize(sums.weight.size());
      for (std::size_t i = 0; i < plane.size(); ++i)
        plane[i] = sums.weight[i] > 0 ? quantised(sums.weighted[i] / sums.weight[i]) : 0;
      sums_.erase(sums_.begin());
    }
  }

  void widen(std::optional<Box>& box, const Output& output) const {
    const Index& start = output.start;
    const std::vector<float>& p = output.probability;
    const auto least = static_cast<float>(coarse_threshold(model_));
    for_each_row(start, [&](std::int64_t z, std::int64_t tensor, std::int64_t in_plane) {
      for (std::int64_t x = 0; x < patch_[2]; ++x) {
        if (!(p[static_cast<std::size_t>(tensor + x * tensor_step_[2])] >= least)) continue;
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
  Probabilities result_;
};

}  // namespace

Probabilities run_windows(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                          const SegmentationPlan& plan) {
  WindowPass pass(grid, model, network);
  Box box{{0, 0, 0}, grid.size()};
  if (plan.coarse_mm > 0 && !pass.one_window()) {
    const auto found = pass.find();
    if (!found) return Probabilities(static_cast<std::size_t>(grid.size()[0]));
    box = *found;
  }
  return pass.run(box);
}

}  // namespace wsp
