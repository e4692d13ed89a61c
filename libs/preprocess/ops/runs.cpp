#include "preprocess/ops/runs.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "io/core/vector_clones.hpp"

namespace wsp {
namespace {

constexpr std::size_t kBits = 64;

WSP_VECTOR_CLONES("avx2", "default")
bool mark_set(const std::uint8_t* pixels, std::size_t n, std::uint8_t* out) {
  std::uint8_t any = 0;
  for (std::size_t i = 0; i < n; ++i) any |= pixels[i];
  if (any == 0) return false;
  for (std::size_t i = 0; i < n; ++i) out[i] = pixels[i] != 0 ? 1 : 0;
  return true;
}

WSP_VECTOR_CLONES("avx2", "default")
void mark_least(const std::int16_t* pixels, std::size_t n, std::int16_t least, std::uint8_t* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = pixels[i] >= least ? 1 : 0;
}

// Eight bytes of 0 or 1, the first in the lowest place, as eight bits.
std::uint64_t eight_bits(const std::uint8_t* bytes) {
  std::uint64_t word = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&word, bytes, sizeof word);
    return word * 0x0102040810204080U >> 56U;
  }
  for (std::size_t i = 0; i < 8; ++i) word |= std::uint64_t{bytes[i]} << i;
  return word;
}

}  // namespace

std::int64_t RunRows::pixels(std::size_t row, std::size_t count) const {
  std::int64_t sum = 0;
  for (std::size_t i = row_[row]; i < row_[row + count]; ++i) sum += runs_[i].end - runs_[i].begin;
  return sum;
}

void RunRows::clear() {
  runs_.clear();
  row_.resize(1);
}

void RunRows::add_words() {
  std::uint64_t before = 0;  // the pixel before a word
  Run run;
  bool open = false;
  for (std::size_t w = 0; w < words_.size(); ++w) {
    const std::uint64_t word = words_[w];
    std::uint64_t edges = word ^ (word << 1U | before);
    before = word >> (kBits - 1);
    for (; edges != 0; edges &= edges - 1) {
      const auto at = static_cast<std::int32_t>(w * kBits) + std::countr_zero(edges);
      if (open) {
        run.end = at;
        runs_.push_back(run);
      } else {
        run.begin = at;
      }
      open = !open;
    }
  }
  if (open) {
    run.end = static_cast<std::int32_t>(width_);
    runs_.push_back(run);
  }
  row_.push_back(runs_.size());
}

void RunRows::add_row(const std::uint8_t* pixels) {
  const auto n = static_cast<std::size_t>(width_);
  words_.assign((n + kBits - 1) / kBits, 0);
  bytes_.resize(words_.size() * kBits);
  if (!mark_set(pixels, n, bytes_.data())) {
    row_.push_back(runs_.size());
    return;
  }
  for (std::size_t i = 0; i < bytes_.size(); i += 8)
    words_[i / kBits] |= eight_bits(&bytes_[i]) << i % kBits;
  add_words();
}

void RunRows::add_row(const std::int16_t* pixels, std::int16_t least) {
  const auto n = static_cast<std::size_t>(width_);
  words_.assign((n + kBits - 1) / kBits, 0);
  bytes_.resize(words_.size() * kBits);
  mark_least(pixels, n, least, bytes_.data());
  for (std::size_t i = 0; i < bytes_.size(); i += 8)
    words_[i / kBits] |= eight_bits(&bytes_[i]) << i % kBits;
  add_words();
}

void RunRows::add_complement(std::span<const Run> row) {
  std::int32_t from = 0;
  for (const Run& run : row) {
    if (run.begin > from) runs_.push_back({from, run.begin});
    from = run.end;
  }
  if (from < width_) runs_.push_back({from, static_cast<std::int32_t>(width_)});
  row_.push_back(runs_.size());
}

void RunRows::add_row(std::span<const Run> row) {
  runs_.insert(runs_.end(), row.begin(), row.end());
  row_.push_back(runs_.size());
}

MaskRuns::MaskRuns(const LiverMask& mask) : geometry(mask.geometry), rows(mask.geometry.size[0]) {
  const std::int64_t count = geometry.size[1] * geometry.size[2];
  for (std::int64_t r = 0; r < count; ++r) rows.add_row(mask.voxels.data() + r * geometry.size[0]);
}

namespace {

// Runs and the first run of each one's part, as far as it is known.
class Union {
 public:
  explicit Union(std::size_t runs) : first_(runs) {
    for (std::size_t i = 0; i < runs; ++i) first_[i] = static_cast<std::int32_t>(i);
  }
  std::int32_t find(std::int32_t i) {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(std::int32_t a, std::int32_t b) {
    a = find(a);
    b = find(b);
    at(std::max(a, b)) = std::min(a, b);
  }
  // Join the runs of two rows that overlap, or with a reach of 1 touch at a corner too.
  void join_rows(const RunRows& rows, std::size_t a, std::size_t b, std::int32_t reach) {
    const auto runs = rows.runs();
    for (std::size_t i = rows.first(a), j = rows.first(b);
         i < rows.first(a + 1) && j < rows.first(b + 1);) {
      if (runs[i].begin < runs[j].end + reach && runs[j].begin < runs[i].end + reach)
        join(static_cast<std::int32_t>(i), static_cast<std::int32_t>(j));
      runs[i].end < runs[j].end ? ++i : ++j;
    }
  }
  Parts parts(const RunRows& rows) {
    Parts result;
    result.of_run.resize(first_.size());
    for (std::size_t i = 0; i < first_.size(); ++i) {
      const std::int32_t first = find(static_cast<std::int32_t>(i));
      if (static_cast<std::size_t>(first) == i) {
        result.of_run[i] = static_cast<std::int32_t>(result.size.size());
        result.size.push_back(0);
      } else {
        result.of_run[i] = result.of_run[static_cast<std::size_t>(first)];
      }
      const Run& run = rows.runs()[i];
      result.size[static_cast<std::size_t>(result.of_run[i])] += run.end - run.begin;
    }
    return result;
  }

 private:
  std::int32_t& at(std::int32_t i) { return first_[static_cast<std::size_t>(i)]; }
  std::vector<std::int32_t> first_;
};

}  // namespace

Parts parts_of_slice(const RunRows& rows) {
  Union runs(rows.runs().size());
  for (std::size_t y = 1; y < rows.rows(); ++y) runs.join_rows(rows, y - 1, y, 0);
  return runs.parts(rows);
}

Parts parts_of_volume(const MaskRuns& mask) {
  const RunRows& rows = mask.rows;
  const auto ny = static_cast<std::size_t>(mask.geometry.size[1]);
  Union runs(rows.runs().size());
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    if (rows.row(r).empty()) continue;
    const std::size_t y = r % ny;
    if (y > 0) runs.join_rows(rows, r - 1, r, 1);
    if (r < ny) continue;
    for (std::size_t below = r - ny - (y > 0 ? 1 : 0); below <= r - ny + (y + 1 < ny ? 1 : 0);
         ++below)
      runs.join_rows(rows, below, r, 1);
  }
  return runs.parts(rows);
}

}  // namespace wsp
