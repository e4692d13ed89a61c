#include "preprocess/ops/runs.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "preprocess/ops/slices.hpp"

namespace wsp {
namespace {

LiverMask random_mask(std::int64_t nx, std::int64_t ny, std::int64_t nz, double share,
                      unsigned seed) {
  LiverMask mask;
  mask.geometry.size = {nx, ny, nz};
  std::mt19937 random(seed);
  // Blobs of 3 x 2 pixels, so that parts of many sizes come up.
  std::vector<std::uint8_t> coarse(static_cast<std::size_t>((nx / 3 + 1) * (ny / 2 + 1) * nz));
  for (auto& c : coarse) c = static_cast<double>(random() % 1000) < 1000 * share ? 1 : 0;
  for (std::int64_t z = 0; z < nz; ++z)
    for (std::int64_t y = 0; y < ny; ++y)
      for (std::int64_t x = 0; x < nx; ++x)
        mask.voxels.push_back(
            coarse[static_cast<std::size_t>((z * (ny / 2 + 1) + y / 2) * (nx / 3 + 1) + x / 3)] |
            (random() % 97 == 0 ? 1 : 0));
  return mask;
}

// Plain flood fill over neighbours at most `reach` steps away along the axes taken together.
std::vector<std::int64_t> flooded(const LiverMask& mask, int most_axes) {
  const auto [nx, ny, nz] = mask.geometry.size;
  std::vector<std::uint8_t> seen(mask.voxels.size());
  std::vector<std::int64_t> sizes, stack;
  for (std::size_t seed = 0; seed < seen.size(); ++seed) {
    if (mask.voxels[seed] == 0 || seen[seed] != 0) continue;
    sizes.push_back(0);
    seen[seed] = 1;
    stack.push_back(static_cast<std::int64_t>(seed));
    while (!stack.empty()) {
      const std::int64_t at = stack.back();
      stack.pop_back();
      ++sizes.back();
      for (int dz = -1; dz <= 1; ++dz)
        for (int dy = -1; dy <= 1; ++dy)
          for (int dx = -1; dx <= 1; ++dx) {
            const std::int64_t x = at % nx + dx, y = at / nx % ny + dy, z = at / (nx * ny) + dz;
            if ((dx != 0) + (dy != 0) + (dz != 0) > most_axes || x < 0 || y < 0 || z < 0 ||
                x >= nx || y >= ny || z >= nz)
              continue;
            const auto to = static_cast<std::size_t>((z * ny + y) * nx + x);
            if (mask.voxels[to] == 0 || seen[to] != 0) continue;
            seen[to] = 1;
            stack.push_back(static_cast<std::int64_t>(to));
          }
    }
  }
  return sizes;
}

constexpr std::int64_t kWidths[] = {1, 2, 7, 8, 63, 64, 65, 127, 128, 130, 200};

TEST(Runs, AreTheSetPixels) {
  for (const std::int64_t nx : kWidths)
    for (const double share : {0.0, 0.3, 0.7, 1.0}) {
      const LiverMask mask = random_mask(nx, 5, 2, share, static_cast<unsigned>(nx));
      const MaskRuns runs(mask);
      std::vector<std::uint8_t> back(mask.voxels.size());
      for (std::int64_t z = 0; z < 2; ++z) {
        const auto slice = mask.slice(z);
        EXPECT_EQ(runs.pixels(z), std::count(slice.begin(), slice.end(), 1));
        for (std::int64_t y = 0; y < 5; ++y) {
          std::int32_t last = -1;
          for (const wsp::Run& run : runs.row(y, z)) {
            EXPECT_GT(run.begin, last);
            EXPECT_LT(run.begin, run.end);
            last = run.end;
            std::fill(back.begin() + (z * 5 + y) * nx + run.begin,
                      back.begin() + (z * 5 + y) * nx + run.end, std::uint8_t{1});
          }
          EXPECT_LE(last, nx);
        }
      }
      EXPECT_EQ(back, mask.voxels) << nx << " " << share;
    }
}

TEST(Runs, OfLeastValues) {
  std::mt19937 random(4);
  for (const std::int64_t nx : kWidths) {
    std::vector<std::int16_t> hu(static_cast<std::size_t>(nx));
    for (auto& v : hu) v = static_cast<std::int16_t>(static_cast<int>(random() % 5) - 302);
    RunRows rows(nx);
    rows.add_row(hu.data(), -300);
    std::vector<std::uint8_t> set(hu.size());
    for (const wsp::Run& run : rows.row(0))
      std::fill(set.begin() + run.begin, set.begin() + run.end, std::uint8_t{1});
    for (std::size_t i = 0; i < hu.size(); ++i) EXPECT_EQ(set[i] != 0, hu[i] >= -300);
    RunRows rest(nx);
    rest.add_complement(rows.row(0));
    EXPECT_EQ(rest.pixels(0, 1) + rows.pixels(0, 1), nx);
  }
}

TEST(Runs, PartsAreThoseOfAFloodFill) {
  for (const std::int64_t nx : kWidths)
    for (const double share : {0.1, 0.3, 0.5, 0.7}) {
      const LiverMask mask = random_mask(nx, 23, 4, share, static_cast<unsigned>(nx * 10));
      const MaskRuns runs(mask);
      EXPECT_EQ(parts_of_volume(runs).size, flooded(mask, 3)) << nx << " " << share;
      LiverMask slice = mask;
      slice.geometry.size[2] = 1;
      slice.voxels.resize(static_cast<std::size_t>(slice.geometry.voxels()));
      EXPECT_EQ(parts_of_volume(MaskRuns(slice)).size, flooded(slice, 2));
      EXPECT_EQ(parts_of_slice(MaskRuns(slice).rows).size, flooded(slice, 1));
    }
}

// The definition, voxel by voxel: largest 4-connected tissue, and what the border does not reach.
std::vector<std::uint8_t> body_by_flooding(const std::vector<std::int16_t>& hu, std::int64_t nx,
                                           std::int64_t ny) {
  std::vector<std::int32_t> part(hu.size(), 0);
  std::vector<std::int64_t> stack;
  const auto flood = [&](std::size_t seed, std::int32_t id, const auto& open) {
    std::int64_t count = 0;
    part[seed] = id;
    stack.push_back(static_cast<std::int64_t>(seed));
    while (!stack.empty()) {
      const std::int64_t at = stack.back();
      stack.pop_back();
      ++count;
      const auto visit = [&](bool inside, std::int64_t to) {
        if (!inside || part[static_cast<std::size_t>(to)] != 0 ||
            !open(static_cast<std::size_t>(to)))
          return;
        part[static_cast<std::size_t>(to)] = id;
        stack.push_back(to);
      };
      visit(at % nx > 0, at - 1);
      visit(at % nx + 1 < nx, at + 1);
      visit(at / nx > 0, at - nx);
      visit(at / nx + 1 < ny, at + nx);
    }
    return count;
  };
  const auto tissue = [&](std::size_t i) { return hu[i] >= -300; };
  std::int32_t parts = 0, largest = 0;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < hu.size(); ++i)
    if (part[i] == 0 && tissue(i))
      if (const std::int64_t size = flood(i, ++parts, tissue); size > most) {
        most = size;
        largest = parts;
      }
  std::vector<std::uint8_t> body(hu.size());
  for (std::size_t i = 0; i < hu.size(); ++i) body[i] = largest != 0 && part[i] == largest ? 1 : 0;
  std::fill(part.begin(), part.end(), 0);
  const auto open = [&](std::size_t i) { return body[i] == 0; };
  for (std::size_t i = 0; i < hu.size(); ++i) {
    const auto x = static_cast<std::int64_t>(i) % nx, y = static_cast<std::int64_t>(i) / nx;
    if ((x == 0 || y == 0 || x == nx - 1 || y == ny - 1) && part[i] == 0 && open(i))
      flood(i, 1, open);
  }
  for (std::size_t i = 0; i < hu.size(); ++i) body[i] = part[i] == 0 ? 1 : 0;
  return body;
}

TEST(Profile, IsTheOneOfAFloodFill) {
  for (const std::int64_t nx : kWidths)
    for (const double share : {0.0, 0.4, 0.6, 0.9}) {
      const std::int64_t ny = 31;
      const LiverMask blobs = random_mask(nx, ny, 1, share, static_cast<unsigned>(nx));
      const LiverMask liver = random_mask(nx, ny, 1, 0.2, 77);
      std::mt19937 random(static_cast<unsigned>(nx));
      std::vector<std::int16_t> hu;
      for (const std::uint8_t b : blobs.voxels)
        hu.push_back(static_cast<std::int16_t>((b != 0 ? -300 : -1200) +
                                               static_cast<int>(random() % (b != 0 ? 3000 : 900))));
      Geometry g;
      g.size = {nx, ny, 1};
      const MaskRuns runs(liver);
      ValueCounts all, body, inside;
      all.add(hu);
      const SliceProfile p = profile_slice(hu, &runs, 0, g, body, inside);
      HuHistogram h, wanted;
      h.add(all, body, inside);
      std::int64_t body_n = 0, lung = 0, bone = 0, liver_n = 0, sum = 0;
      const auto is_body = body_by_flooding(hu, nx, ny);
      for (std::size_t i = 0; i < hu.size(); ++i) {
        const std::size_t bin = HuHistogram::bin(hu[i]);
        ++(is_body[i] != 0 ? wanted.body : wanted.air)[bin];
        body_n += is_body[i];
        lung += is_body[i] != 0 && hu[i] >= -1000 && hu[i] <= -500;
        bone += is_body[i] != 0 && hu[i] >= 250;
        if (liver.voxels[i] == 0) continue;
        ++wanted.liver[bin];
        ++liver_n;
        sum += hu[i];
      }
      EXPECT_EQ(h.body, wanted.body) << nx << " " << share;
      EXPECT_EQ(h.air, wanted.air);
      EXPECT_EQ(h.liver, wanted.liver);
      EXPECT_EQ(p.body_mm2, static_cast<double>(body_n));
      EXPECT_EQ(p.lung_mm2, static_cast<double>(lung));
      EXPECT_EQ(p.bone_mm2, static_cast<double>(bone));
      EXPECT_EQ(p.liver_mm2, static_cast<double>(liver_n));
      if (liver_n > 0) {
        EXPECT_EQ(p.liver_mean_hu, static_cast<double>(sum) / static_cast<double>(liver_n));
      }
    }
}

}  // namespace
}  // namespace wsp
