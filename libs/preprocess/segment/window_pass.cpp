#include <tbb/parallel_for.h>

#include <algorithm>
#include <map>
#include <optional>

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
      : grid_(grid), model_(model), network_(network), size_(grid.size()) {
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

  // Everything at once, without overlap: the box about what may be liver, widened by half a window.
  std::optional<Box> find() {
    std::optional<Box> box;
    const auto layers = starts(0);
    for (const std::int64_t z : layers[0]) {
      const auto windows = layer(layers, z, Box{{0, 0, 0}, size_});
      std::vector<std::vector<float>> found(windows.size());
      run_windows_of(windows, [&](std::size_t i, std::span<const float> p) {
        found[i].assign(p.begin(), p.end());
      });
      for (std::size_t i = 0; i < windows.size(); ++i) widen(box, windows[i], found[i]);
    }
    if (!box) return box;
    for (std::size_t a = 0; a < 3; ++a) {
      box->first[a] = std::max<std::int64_t>(0, box->first[a] - patch_[a] / 2);
      box->end[a] = std::min(size_[a], box->end[a] + patch_[a] / 2);
    }
    return box;
  }

  // Layer by layer from the feet: a plane is finished when no later window reaches it.
  Probabilities run(const Box& box) {
    result_.assign(static_cast<std::size_t>(size_[0]), {});
    const auto layers = starts(model_.overlap);
    std::vector<std::int64_t> zs;
    for (const std::int64_t z : layers[0])
      if (z < box.end[0] && z + patch_[0] > box.first[0]) zs.push_back(z);
    for (std::size_t i = 0; i < zs.size(); ++i) {
      add_layer(layer(layers, zs[i], box));
      finish_planes(i + 1 < zs.size() ? zs[i + 1] : size_[0]);
    }
    return std::move(result_);
  }

  [[nodiscard]] bool one_window() const { return size_ == patch_; }

 private:
  struct Sums {
    std::vector<float> weighted, weight;  // [y][x]
  };

  [[nodiscard]] std::array<std::vector<std::int64_t>, 3> starts(double overlap) const {
    std::array<std::vector<std::int64_t>, 3> all;
    for (std::size_t a = 0; a < 3; ++a) all[a] = window_starts(size_[a], patch_[a], overlap);
    return all;
  }

  [[nodiscard]] std::vector<Index> layer(const std::array<std::vector<std::int64_t>, 3>& all,
                                         std::int64_t z, const Box& box) const {
    std::vector<Index> windows;
    for (const std::int64_t y : all[1])
      for (const std::int64_t x : all[2])
        if (box.meets({z, y, x}, patch_)) windows.push_back({z, y, x});
    return windows;
  }

  // Planes of the input that the layer at z needs; those of earlier layers that it does not go.
  void make_planes(std::int64_t z) {
    std::erase_if(planes_, [&](const auto& p) { return p.first < z || p.first >= z + patch_[0]; });
    std::vector<std::int64_t> missing;
    for (std::int64_t k = z; k < z + patch_[0]; ++k)
      if (planes_.try_emplace(k).second) missing.push_back(k);
    tbb::parallel_for(std::size_t{0}, missing.size(),
                      [&](std::size_t i) { planes_.at(missing[i]) = grid_.plane(missing[i]); });
  }

  // Visits a window's voxels: (index in the network's tensor, y * width + x in the grid, z).
  template <class Visit>
  void for_each_row(const Index& start, Visit visit) const {
    for (std::int64_t z = 0; z < patch_[0]; ++z)
      for (std::int64_t y = 0; y < patch_[1]; ++y)
        visit(z, tensor_origin_ + z * tensor_step_[0] + y * tensor_step_[1],
              (start[1] + y) * size_[2] + start[2], (z * patch_[1] + y) * patch_[2]);
  }

  template <class Take>
  void run_windows_of(const std::vector<Index>& windows, Take take) {
    if (windows.empty()) return;
    make_planes(windows.front()[0]);
    BatchJob job;
    job.sample = {1, 1, model_.patch};
    job.count = static_cast<std::int64_t>(windows.size());
    job.batch = network_.batch(3);
    job.fill = [&](std::int64_t i, std::span<float> input) {
      const Index& start = windows[static_cast<std::size_t>(i)];
      for_each_row(start,
                   [&](std::int64_t z, std::int64_t tensor, std::int64_t in_plane, std::int64_t) {
                     const float* row = planes_.at(start[0] + z).data() + in_plane;
                     for (std::int64_t x = 0; x < patch_[2]; ++x)
                       input[static_cast<std::size_t>(tensor + x * tensor_step_[2])] = row[x];
                   });
    };
    job.take = [&](std::int64_t i, std::span<const float> output) {
      take(static_cast<std::size_t>(i), output);
    };
    BatchRunner(network_).run(job);
  }

  // Sums are made window by window in one order, so that they round alike at any number of threads;
  // a group of windows is held until it is added.
  void add_layer(const std::vector<Index>& windows) {
    if (windows.empty()) return;
    const auto area = static_cast<std::size_t>(size_[1] * size_[2]);
    for (std::int64_t k = 0; k < patch_[0]; ++k) {
      Sums& sums = sums_[windows.front()[0] + k];
      sums.weighted.resize(area);
      sums.weight.resize(area);
    }
    constexpr std::size_t kGroup = 16;
    for (std::size_t first = 0; first < windows.size(); first += kGroup) {
      const std::size_t end = std::min(windows.size(), first + kGroup);
      const std::vector<Index> group(windows.begin() + static_cast<std::ptrdiff_t>(first),
                                     windows.begin() + static_cast<std::ptrdiff_t>(end));
      std::vector<std::vector<float>> outputs(group.size());
      run_windows_of(group, [&](std::size_t i, std::span<const float> p) {
        outputs[i].assign(p.begin(), p.end());
      });
      tbb::parallel_for(std::int64_t{0}, patch_[0], [&](std::int64_t plane) {
        for (std::size_t i = 0; i < group.size(); ++i) add_plane(group[i], plane, outputs[i]);
      });
    }
  }

  void add_plane(const Index& start, std::int64_t z, const std::vector<float>& output) {
    Sums& sums = sums_.at(start[0] + z);
    for (std::int64_t y = 0; y < patch_[1]; ++y) {
      const std::int64_t tensor = tensor_origin_ + z * tensor_step_[0] + y * tensor_step_[1];
      const auto at = static_cast<std::size_t>((start[1] + y) * size_[2] + start[2]);
      const float* w = weights_.data() + (z * patch_[1] + y) * patch_[2];
      for (std::int64_t x = 0; x < patch_[2]; ++x) {
        const auto i = static_cast<std::size_t>(x);
        sums.weighted[at + i] +=
            w[x] * output[static_cast<std::size_t>(tensor + x * tensor_step_[2])];
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

  void widen(std::optional<Box>& box, const Index& start, const std::vector<float>& p) const {
    const auto least = static_cast<float>(coarse_threshold(model_));
    for_each_row(start,
                 [&](std::int64_t z, std::int64_t tensor, std::int64_t in_plane, std::int64_t) {
                   for (std::int64_t x = 0; x < patch_[2]; ++x) {
                     if (!(p[static_cast<std::size_t>(tensor + x * tensor_step_[2])] >= least))
                       continue;
                     const Index at{start[0] + z, in_plane / size_[2], start[2] + x};
                     if (!box) box = Box{at, at};
                     for (std::size_t a = 0; a < 3; ++a) {
                       box->first[a] = std::min(box->first[a], at[a]);
                       box->end[a] = std::max(box->end[a], at[a] + 1);
                     }
                   }
                 });
  }

  const ModelGrid& grid_;
  const ModelDescriptor& model_;
  Network& network_;
  Index size_, patch_{}, tensor_step_{};
  std::int64_t tensor_origin_ = 0;
  std::vector<float> weights_;
  std::map<std::int64_t, std::vector<float>> planes_;
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
