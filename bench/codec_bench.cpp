// How small and how fast LZ4 chunks are, as Blosc writes them and as compress_slice() does: every
// image of a dataset, or every n-th. One line per encoder and turn: name, ratio, microseconds to
// encode and to decode a slice.
#include <blosc.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "io/core/error.hpp"
#include "io/shard/dataset.hpp"

namespace {

using namespace wsp;
using Bytes = std::vector<std::uint8_t>;

double microseconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

Bytes blosc_encoded(const Bytes& raw) {
  Bytes chunk(raw.size() + BLOSC_MAX_OVERHEAD);
  const int length = blosc_compress_ctx(5, BLOSC_SHUFFLE, 2, raw.size(), raw.data(), chunk.data(),
                                        chunk.size(), BLOSC_LZ4_COMPNAME, 0, 1);
  chunk.resize(static_cast<std::size_t>(length));
  return chunk;
}

Bytes our_encoded(const Bytes& raw) { return compress_slice(raw, 2, Codec::lz4, 0).bytes; }

void measure(const char* name, const std::vector<Bytes>& slices, Bytes (*encode)(const Bytes&)) {
  std::vector<Bytes> chunks;
  chunks.reserve(slices.size());
  const double encoding = microseconds([&] {
    for (const Bytes& raw : slices) chunks.push_back(encode(raw));
  });
  Bytes out(slices.front().size());
  double stored = 0;
  constexpr int kTurns = 10;
  const double decoding = microseconds([&] {
    for (int turn = 0; turn < kTurns; ++turn)
      for (const Bytes& chunk : chunks)
        if (blosc_decompress_ctx(chunk.data(), out.data(), out.size(), 1) <= 0)
          throw Error(ErrorCode::failure, "Blosc cannot decode a chunk");
  });
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    stored += static_cast<double>(chunks[i].size());
    if (blosc_decompress_ctx(chunks[i].data(), out.data(), out.size(), 1) <= 0 || out != slices[i])
      throw Error(ErrorCode::failure, "a chunk does not give its slice back");
  }
  const auto n = static_cast<double>(slices.size());
  fmt::print("{:<6} ratio {:.2f}  encode {:.0f} us  decode {:.1f} us\n", name,
             n * static_cast<double>(out.size()) / stored, encoding / n, decoding / n / kTurns);
}

}  // namespace

int main(int argc, char** argv) {
  std::string dataset;
  std::size_t most = 128;
  int turns = 5;
  CLI::App app{"Measure LZ4 chunks of Blosc's encoder and of ours, both decoded by Blosc"};
  app.add_option("dataset", dataset, "Dataset directory")->required();
  app.add_option("--most", most, "Slices, evenly spaced")->check(CLI::PositiveNumber);
  app.add_option("--turns", turns, "Alternations")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    const DatasetReader reader(dataset);
    const std::size_t step = std::max<std::size_t>(1, reader.slices().size() / most);
    std::vector<Bytes> slices;
    for (std::size_t i = 0; i < reader.slices().size(); i += step) {
      const std::vector<std::int16_t> image = reader.read_image(i);
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(image.data());
      slices.emplace_back(bytes, bytes + image.size() * sizeof(std::int16_t));
    }
    if (slices.empty()) throw Error(ErrorCode::no_input, "the dataset has no slices");
    fmt::print("{} slices of {} x {}\n", slices.size(), reader.layout().width,
               reader.layout().height);
    for (int turn = 0; turn < turns; ++turn) {
      measure("Blosc", slices, blosc_encoded);
      measure("ours", slices, our_encoded);
    }
    return 0;
  } catch (const Error& e) {
    fmt::print(stderr, "codec_bench: {}\n", e.what());
    return exit_code(e.code());
  }
}
