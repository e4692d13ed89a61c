// What the segmenter costs beside the bare network, and whether a device that is waited for hides
// the rest of the ingest. See bench/segment.sh and docs/PERFORMANCE.md.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <torch/script.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "io/core/log.hpp"
#include "preprocess/phantom/cohort.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "preprocess/segment/model_segmenter.hpp"

namespace {

using namespace wsp;
namespace fs = std::filesystem;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

struct Cost {
  double wall = 0, cpu = 0;
};

template <class Work>
Cost cost_of(Work work) {
  const double wall = seconds(), cpu = cpu_seconds();
  work();
  return {seconds() - wall, cpu_seconds() - cpu};
}

Volume make_volume(std::array<std::int64_t, 3> size, Vec3 spacing) {
  Volume v;
  v.geometry.size = size;
  v.geometry.spacing_mm = spacing;
  v.hu.resize(static_cast<std::size_t>(v.geometry.voxels()));
  std::uint32_t random = 1;
  for (std::int16_t& hu : v.hu) {
    random = random * 1664525U + 1013904223U;
    hu = static_cast<std::int16_t>(static_cast<int>(random >> 23) - 150);
  }
  for (std::int64_t z = 0; z < size[2]; ++z) v.z_mm.push_back(static_cast<double>(z) * spacing[2]);
  return v;
}

// Forward passes alone: as many samples in batches as large, each oneTBB thread one batch at a
// time.
void run_bare(torch::jit::Module& module, const torch::Tensor& input, std::int64_t batches) {
  tbb::parallel_for(std::int64_t{0}, batches, [&](std::int64_t) {
    const torch::NoGradGuard no_gradient;
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    at::set_num_threads(1);
    (void)module.forward({input});
  });
}

struct Plumbing {
  std::string descriptor;
  int turns = 5;
};

// Full segment() of a volume beside the forward passes that it makes.
int run_plumbing(const Plumbing& o) {
  const ModelDescriptor model = load_descriptor(o.descriptor);
  torch::jit::Module module = torch::jit::load(model.file.string());
  module.eval();
  const bool deep = model.dimensions == 3;
  const Volume volume = deep ? make_volume({128, 128, 80}, {1.5, 1.5, 1.5})
                             : make_volume({512, 512, 24}, {0.8, 0.8, 2.5});
  const auto segmenter = make_segmenter(o.descriptor, "cpu", {0});
  std::int64_t samples = volume.geometry.size[2];
  std::vector<std::int64_t> shape{2, model.channels(), model.size ? (*model.size)[0] : 512,
                                  model.size ? (*model.size)[1] : 512};
  if (deep) {
    samples = 1;
    for (std::size_t a = 0; a < 3; ++a) {  // windows of half overlap; the volume is S P L
      const std::int64_t step = model.patch[a] / 2;
      samples *= (volume.geometry.size[2 - a] - model.patch[a] + step - 1) / step + 1;
    }
    shape = {1, 1, model.patch[0], model.patch[1], model.patch[2]};
  }
  const torch::Tensor input = torch::rand(shape);
  const auto bare = [&] { run_bare(module, input, samples / shape[0]); };
  const auto ours = [&] {
    if (!segmenter->segment(volume)) throw std::runtime_error("the model rejected the volume");
  };
  bare();
  ours();
  std::vector<double> wall, cpu, bare_wall, bare_cpu;
  for (int turn = 0; turn < o.turns; ++turn) {
    const Cost b = cost_of(bare), s = cost_of(ours);
    bare_wall.push_back(b.wall);
    bare_cpu.push_back(b.cpu);
    wall.push_back(s.wall / b.wall);
    cpu.push_back(s.cpu / b.cpu);
  }
  fmt::print(
      "{}: {} samples; bare network {:.0f} ms (CPU {:.0f} ms); segmenter / bare: {:.3f} by "
      "time, {:.3f} by CPU time (target 1.10)\n",
      model.name, samples, 1e3 * median(bare_wall), 1e3 * median(bare_cpu), median(wall),
      median(cpu));
  return 0;
}

// A device that does one thing after another and nothing but take its time.
class WaitingDevice {
 public:
  // When work of `seconds` that is given to it now will be done.
  std::chrono::steady_clock::time_point take(double seconds) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    free_ = std::max(free_, now) + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                       std::chrono::duration<double>(seconds));
    return free_;
  }

 private:
  std::mutex mutex_;
  std::chrono::steady_clock::time_point free_;
};

// A network on such a device, in batches of 16 slices as on a card.
class WaitingNetwork : public Network {
 public:
  [[nodiscard]] bool concurrent() const override { return false; }
  [[nodiscard]] std::int64_t batch(int) const override { return 16; }
  std::unique_ptr<NetworkSlot> make_slot(const BatchShape& largest) override;
  double slice_s = 0;
  WaitingDevice device;
};

class WaitingSlot : public NetworkSlot {
 public:
  WaitingSlot(WaitingNetwork& network, const BatchShape& largest)
      : network_(network),
        input_(static_cast<std::size_t>(largest.samples * largest.channels * largest.voxels())),
        output_(static_cast<std::size_t>(largest.samples * largest.voxels())) {}
  std::span<float> input() override { return input_; }
  void start(const BatchShape& shape) override {
    done_ = network_.device.take(static_cast<double>(shape.samples) * network_.slice_s);
  }
  void wait() override { std::this_thread::sleep_until(done_); }
  [[nodiscard]] std::span<const float> output() const override { return output_; }

 private:
  WaitingNetwork& network_;
  std::vector<float> input_, output_;
  std::chrono::steady_clock::time_point done_;
};

std::unique_ptr<NetworkSlot> WaitingNetwork::make_slot(const BatchShape& largest) {
  return std::make_unique<WaitingSlot>(*this, largest);
}

// segment() of volumes whose network only waits, one after the other and two at a time as in an
// ingest.
int run_device(int turns) {
  ModelDescriptor model;
  model.name = "waiting";
  model.dimensions = 2;
  model.neighbours = 1;
  model.axes = {ModelAxis{2, false}, ModelAxis{1, false}, ModelAxis{0, false}};
  model.low_hu = -100;
  model.high_hu = 400;
  model.liver_channels = {0};
  const Volume volume = make_volume({512, 512, 96}, {0.8, 0.8, 2.5});
  auto made = std::make_unique<WaitingNetwork>();
  WaitingNetwork& network = *made;
  ModelSegmenter segmenter(model, std::move(made), {0});
  constexpr int kVolumes = 4;
  const auto segment = [&] {
    if (!segmenter.segment(volume)) throw std::runtime_error("the model rejected the volume");
  };
  const auto one_by_one = [&] {
    for (int i = 0; i < kVolumes; ++i) segment();
  };
  const auto by_two = [&] {
    const auto half = [&] {
      for (int i = 0; i < kVolumes / 2; ++i) segment();
    };
    auto other = std::async(std::launch::async, half);
    half();
    other.get();
  };
  one_by_one();
  std::vector<double> host;
  for (int turn = 0; turn < turns; ++turn) host.push_back(cost_of(one_by_one).wall / kVolumes);
  const double host_s = median(host);
  for (const double factor : {0.5, 1.0, 2.0, 4.0}) {
    const double device_s = factor * host_s;
    network.slice_s = device_s / static_cast<double>(volume.geometry.size[2]);
    std::vector<double> single, pairs;
    for (int turn = 0; turn < turns; ++turn) {
      single.push_back(cost_of(one_by_one).wall / kVolumes);
      pairs.push_back(cost_of(by_two).wall / kVolumes);
    }
    const double larger = std::max(device_s, host_s);
    fmt::print(
        "a volume of 512 x 512 x 96: host {:.0f} ms, device {:.0f} ms: one at a time {:.0f} ms = "
        "{:.2f} x the larger, two at a time {:.0f} ms = {:.2f} x\n",
        1e3 * host_s, 1e3 * device_s, 1e3 * median(single), median(single) / larger,
        1e3 * median(pairs), median(pairs) / larger);
  }
  return 0;
}

// A segmenter on such a device.
class WaitingSegmenter : public Segmenter {
 public:
  explicit WaitingSegmenter(double wait) : wait_s(wait) {}
  [[nodiscard]] std::string identity() const override { return "waiting"; }
  Outcome<Segmentation> segment(const Volume& volume) override {
    Segmentation made;
    made.mask.geometry = volume.geometry;
    made.mask.voxels.resize(volume.hu.size());
    std::transform(volume.hu.begin(), volume.hu.end(), made.mask.voxels.begin(),
                   [](std::int16_t hu) { return hu > 80 && hu < 160 ? 1 : 0; });
    std::this_thread::sleep_until(device.take(wait_s));
    return made;
  }
  double wait_s;
  WaitingDevice device;
};

struct Overlap {
  int cases = 32, threads = 2;
};

int run_overlap(const Overlap& o) {
  const fs::path work = fs::temp_directory_path() / fmt::format("wsp-overlap-{}", ::getpid());
  phantom::CohortOptions cohort;
  cohort.out = work / "cohort";
  cohort.subjects = o.cases;
  cohort.size = 256;
  cohort.min_slices = cohort.max_slices = 60;
  cohort.nifti = true;
  phantom::make_cohort(cohort);
  int run = 0;
  const auto ingest_with = [&](double wait) {
    WaitingSegmenter segmenter(wait);
    IngestOptions options;
    options.input = cohort.out / "export";
    options.output = work / fmt::format("dataset-{}", run++);
    options.config.ids = IdMode::keep;
    options.tool_version = "bench";
    options.segmenter = &segmenter;
    return cost_of([&] {
      if (ingest(options).cases != static_cast<std::size_t>(o.cases))
        throw std::runtime_error("not every case was made");
    });
  };
  (void)ingest_with(0);
  const double share = ingest_with(0).cpu / o.threads / o.cases;  // CPU work a case and core
  for (const double factor : {0.5, 1.0, 2.0}) {
    const Cost cost = ingest_with(share * factor);
    const double device = share * factor * o.cases, work_s = cost.cpu / o.threads;
    fmt::print(
        "device {:.2f} s, CPU work / {} cores {:.2f} s: wall {:.2f} s = {:.3f} x the larger "
        "(target 1.15; one after the other {:.2f} s)\n",
        device, o.threads, work_s, cost.wall, cost.wall / std::max(device, work_s),
        device + work_s);
  }
  fs::remove_all(work);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Cost of the segmenter's plumbing; overlap with a device");
  Plumbing plumbing;
  Overlap overlap;
  int threads = 2;
  app.add_option("--threads", threads, "oneTBB threads");
  app.fallthrough();
  auto* p = app.add_subcommand("plumbing", "segment() beside bare forward passes");
  p->add_option("MODEL", plumbing.descriptor)->required();
  p->add_option("--turns", plumbing.turns);
  auto* d = app.add_subcommand("device", "segment() with a network that only waits");
  d->add_option("--turns", plumbing.turns);
  auto* w = app.add_subcommand("overlap", "an ingest with a segmenter that only waits");
  w->add_option("--cases", overlap.cases);
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  try {
    log::configure("warn");
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(threads));
    overlap.threads = threads;
    if (d->parsed()) return run_device(plumbing.turns);
    return p->parsed() ? run_plumbing(plumbing) : run_overlap(overlap);
  } catch (const std::exception& e) {
    fmt::print(stderr, "segment_bench: {}\n", e.what());
    return 1;
  }
}
