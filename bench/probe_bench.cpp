// Cross-validated probe on features in a raw file; bench/probe.sh sets it beside scikit-learn.
#include <fmt/format.h>
#include <tbb/global_control.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "train/stats/cross_validation.hpp"

int main(int argc, char** argv) {
  std::string file;
  int subjects = 155, slices = 40, features = 512, rounds = 5, threads = 2;
  double tolerance = 1e-8;
  CLI::App app("Time the cross-validated probe");
  app.add_option("FILE", file,
                 "float32 [subjects * slices][features], then a byte per subject: its class, and "
                 "one: its fold")
      ->required();
  app.add_option("--subjects", subjects);
  app.add_option("--slices", slices);
  app.add_option("--features", features);
  app.add_option("--rounds", rounds);
  app.add_option("--threads", threads);
  app.add_option("--tolerance", tolerance, "Largest element of the gradient at the end");
  CLI11_PARSE(app, argc, argv);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(threads));
  const std::string bytes = wsp::read_file(file);
  wsp::train::ProbeSet set;
  set.dimensions = features;
  const auto count = static_cast<std::size_t>(subjects) * static_cast<std::size_t>(slices) *
                     static_cast<std::size_t>(features);
  std::vector<float> values(count);
  std::memcpy(values.data(), bytes.data(), 4 * count);
  set.first = {0};
  std::vector<int> fold;
  for (int s = 0; s < subjects; ++s) {
    set.positive.push_back(
        static_cast<std::uint8_t>(bytes.at(4 * count + static_cast<std::size_t>(s))));
    fold.push_back(bytes.at(4 * count + static_cast<std::size_t>(subjects + s)));
    set.first.push_back(set.first.back() + slices);
  }
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu = std::clock();
    set.x.assign(values.begin(), values.end());
    wsp::train::LogisticFits fits(set, tolerance);
    fits.prepare(1);
    const double auc =
        wsp::train::cross_validate_in(set, fits, set.positive, {fold}, {}).mean_auc();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("{}\n",
               nlohmann::json{{"seconds", seconds},
                              {"cpu_s", static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC},
                              {"auc", auc}}
                   .dump());
  }
  return 0;
}
