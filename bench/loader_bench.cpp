// How fast the loader delivers slices out of the page cache, beside bare pread + Blosc on as many
// threads. Prints one line per measurement: name, slices per second, CPU milliseconds per slice.
#include <blosc.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/state.hpp"
#include "train/data/loader.hpp"

namespace {

using namespace wsp;
namespace fs = std::filesystem;

constexpr std::int64_t kSide = 512;
constexpr int kSlicesPerCase = 32;

struct Options {
  fs::path dataset;
  int slices = 1024, workers = 2, rounds = 5, ring = 4;
  std::int64_t image_size = kSide;
  std::size_t batch = 64, batches = 24;
  std::string backend = "onetbb";
  bool only_make = false;
};

// An abdomen as Blosc sees it: a body with smooth organs and noise of 12 HU, in air that the window
// makes flat.
std::vector<std::int16_t> made_slice(int c, int s, const std::vector<float>& noise) {
  std::vector<std::int16_t> image(static_cast<std::size_t>(kSide * kSide));
  CounterRng rng(1, {static_cast<std::uint64_t>(c), static_cast<std::uint64_t>(s)});
  const double phase = 0.2 * s + c;
  for (std::int64_t y = 0; y < kSide; ++y) {
    const std::size_t shift = rng.below(noise.size() - kSide);
    for (std::int64_t x = 0; x < kSide; ++x) {
      const double u = static_cast<double>(x - 256) / 215, v = static_cast<double>(y - 256) / 160;
      double hu = -1000;
      if (u * u + v * v < 1) {
        hu = u * u + v * v > 0.85 ? -90
                                  : 60 + 60 * std::sin(5 * u + phase) * std::cos(4 * v - phase);
        if (std::hypot(u, v - 0.6) < 0.15) hu = 350;
        hu += 12.0 * static_cast<double>(noise[shift + static_cast<std::size_t>(x)]);
      }
      image[static_cast<std::size_t>(y * kSide + x)] =
          static_cast<std::int16_t>(std::lround(std::clamp(hu, -100.0, 400.0)));
    }
  }
  return image;
}

std::vector<std::uint8_t> made_mask() {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(kSide * kSide));
  for (std::int64_t y = 0; y < kSide; ++y)
    for (std::int64_t x = 0; x < kSide; ++x)
      mask[static_cast<std::size_t>(y * kSide + x)] = std::hypot(x - 190, y - 230) < 80 ? 1 : 0;
  return mask;
}

void make_dataset(const Options& options) {
  DatasetLayout layout;
  layout.shards = 4;
  layout.tool_version = "bench";
  const fs::path state = next_state(options.dataset);
  fs::create_directories(state / "shards");
  CounterRng rng(2, {});
  std::vector<float> noise(1 << 16);
  for (float& x : noise) x = static_cast<float>(rng.normal());
  const auto mask = made_mask();
  std::vector<std::vector<CaseRecord>> shards(static_cast<std::size_t>(layout.shards));
  for (int c = 0; c * kSlicesPerCase < options.slices; ++c) {
    CaseRecord record;
    record.name = fmt::format("case-{:04}", c);
    record.subject = fmt::format("sub-{:04}", c);
    record.labels = {c % 4};
    record.source_hash = hex(sha256(record.name));
    for (int s = 0; s < kSlicesPerCase; ++s) {
      SliceRecord slice;
      slice.z_mm = 5.0 * s;
      slice.source_index = s;
      slice.depth_kept = slice.depth_liver = slice.depth_volume = s / (kSlicesPerCase - 1.0);
      const auto image = made_slice(c, s, noise);
      slice.image = compress_slice(bytes_of(std::span<const std::int16_t>(image)), 2, layout.codec,
                                   chunk_seed(record.name, s, false));
      slice.mask = compress_slice(mask, 1, layout.codec, chunk_seed(record.name, s, true));
      record.slices.push_back(std::move(slice));
    }
    shards[static_cast<std::size_t>(shard_of(record.name, layout.shards))].push_back(
        std::move(record));
  }
  std::vector<CasePlaces> places;
  for (int shard = 0; shard < layout.shards; ++shard)
    for (CasePlaces& place :
         write_shard(state, shard, std::move(shards[static_cast<std::size_t>(shard)]), layout))
      places.push_back(std::move(place));
  write_index(state, std::move(places), layout);
  publish_state(options.dataset, nlohmann::json::object(), layout);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Stopwatch {
 public:
  void report(const char* name, std::size_t slices) const {
    const double wall =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    const auto n = static_cast<double>(slices);
    fmt::print("{} {:.1f} {:.4f}\n", name, n / wall, 1000 * (cpu_seconds() - cpu_) / n);
    std::fflush(stdout);
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  double cpu_ = cpu_seconds();
};

// Every chunk of an order, read and decompressed into one buffer per thread and thrown away.
void run_bare(const Options& options, const DatasetReader& reader,
              const std::vector<std::uint32_t>& order) {
  std::vector<int> files;
  for (int shard = 0; shard < reader.layout().shards; ++shard)
    files.push_back(
        ::open((reader.state() / "shards" / shard_file_name(shard)).c_str(), O_RDONLY | O_CLOEXEC));
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    std::vector<std::uint8_t> stored(1 << 20), raw(static_cast<std::size_t>(2 * kSide * kSide));
    for (std::size_t i = next++; i < order.size(); i = next++) {
      const IndexRow& row = reader.slices()[order[i]];
      const ssize_t n = ::pread(files[static_cast<std::size_t>(row.shard)], stored.data(),
                                row.place.image_length, static_cast<off_t>(row.place.image_offset));
      if (n != static_cast<ssize_t>(row.place.image_length) ||
          blosc_decompress_ctx(stored.data(), raw.data(), raw.size(), 1) <= 0)
        failed = true;
    }
  };
  const Stopwatch watch;
  std::vector<std::thread> threads;
  for (int t = 0; t < options.workers; ++t) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  watch.report("bare", order.size());
  for (const int file : files) ::close(file);
  if (failed) throw Error(ErrorCode::corrupt, "a chunk cannot be read: remove the dataset");
}

void run_loader(const Options& options, const DatasetReader& reader,
                const std::vector<std::uint32_t>& order) {
  train::LoaderOptions loading;
  loading.image_size = options.image_size;
  loading.workers = options.workers;
  loading.ring = options.ring;
  loading.backend =
      options.backend == "threads" ? train::LoaderBackend::threads : train::LoaderBackend::onetbb;
  const std::int64_t warm_up = 2 * options.ring;  // every buffer of the ring has been written
  const auto total = warm_up + static_cast<std::int64_t>(options.batches);
  train::BatchLoader loader(
      reader,
      [&](std::int64_t b) {
        std::vector<std::uint32_t> rows;
        for (std::size_t k = 0; b < total && k < options.batch; ++k)
          rows.push_back(order[(static_cast<std::size_t>(b) * options.batch + k) % order.size()]);
        return rows;
      },
      0, loading);
  for (std::int64_t b = 0; b < warm_up; ++b) (void)loader.next();
  const Stopwatch watch;
  while (loader.next()) {
  }
  watch.report("loader", options.batch * options.batches);
}

double resident_mib(const char* key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == key) {
      double kib = 0;
      status >> kib;
      return kib / 1024;
    }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Measure the loader beside bare pread + Blosc"};
  app.add_option("dataset", o.dataset, "Dataset directory; made where absent")->required();
  app.add_option("--slices", o.slices, "Slices of a made dataset");
  app.add_option("--workers", o.workers, "Decoding threads of both");
  app.add_option("--rounds", o.rounds, "Alternations");
  app.add_option("--ring", o.ring, "Batches in the loader's ring");
  app.add_option("--batch", o.batch, "Slices per batch");
  app.add_option("--batches", o.batches, "Batches per measurement");
  app.add_option("--image-size", o.image_size, "Side of the loader's images");
  app.add_option("--backend", o.backend)->check(CLI::IsMember({"onetbb", "threads"}));
  app.add_flag("--only-make", o.only_make, "Make the dataset and stop");
  CLI11_PARSE(app, argc, argv);
  try {
    if (!fs::exists(o.dataset / "dataset.json")) make_dataset(o);
    if (o.only_make) return 0;
    const DatasetReader reader(o.dataset);
    double stored = 0, raw = 0;
    for (const IndexRow& row : reader.slices()) {
      stored += row.place.image_length;
      raw += row.place.image_raw;
    }
    std::vector<std::uint32_t> order(reader.slices().size());
    std::iota(order.begin(), order.end(), 0U);
    CounterRng rng(3, {});
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    ReadScratch scratch;
    std::vector<std::int16_t> image(static_cast<std::size_t>(kSide * kSide));
    for (const std::uint32_t row : order) reader.read_image(row, image, scratch);  // page cache
    // As many slices for both.
    std::vector<std::uint32_t> bare_order(o.batch * o.batches);
    for (std::size_t i = 0; i < bare_order.size(); ++i) bare_order[i] = order[i % order.size()];
    for (int round = 0; round < o.rounds; ++round) {
      run_bare(o, reader, bare_order);
      run_loader(o, reader, order);
    }
    const double ring = static_cast<double>(o.ring) * static_cast<double>(o.batch) *
                        static_cast<double>(2 * o.image_size * o.image_size) / (1024 * 1024);
    fmt::print("compression {:.2f}\nring_mib {:.0f}\nresident_mib {:.0f}\n", raw / stored, ring,
               resident_mib("VmHWM:"));
    return 0;
  } catch (const Error& e) {
    fmt::print(stderr, "loader_bench: {}\n", e.what());
    return exit_code(e.code());
  }
}
