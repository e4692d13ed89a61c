#include "preprocess/segment/model_grid.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "preprocess/segment/model_passes.hpp"

namespace wsp {
namespace {

// 2-D, HU as they are.
ModelDescriptor plain() {
  ModelDescriptor d;
  d.axes = {ModelAxis{2, false}, ModelAxis{1, false}, ModelAxis{0, false}};
  d.low_hu = -2000;
  d.high_hu = 2000;
  return d;
}

template <class Value>
Volume volume_of(std::array<std::int64_t, 3> size, Vec3 spacing, Value value) {
  Volume v;
  v.geometry.size = size;
  v.geometry.spacing_mm = spacing;
  for (std::int64_t z = 0; z < size[2]; ++z) {
    v.z_mm.push_back(static_cast<double>(z) * spacing[2]);
    for (std::int64_t y = 0; y < size[1]; ++y)
      for (std::int64_t x = 0; x < size[0]; ++x)
        v.hu.push_back(static_cast<std::int16_t>(value(x, y, z)));
  }
  return v;
}

// Probabilities of the network's grid: 1 where its input exceeds a value.
Probabilities above(const ModelGrid& grid, float value) {
  Probabilities planes;
  for (std::int64_t z = 0; z < grid.size()[0]; ++z) {
    const auto plane = grid.plane(z);
    auto& p = planes.emplace_back(plane.size());
    for (std::size_t i = 0; i < plane.size(); ++i) p[i] = plane[i] > value ? 65535 : 0;
  }
  return planes;
}

TEST(ModelGrid, IsTheVolumesOwnWhereNothingIsAsked) {
  const Volume v = volume_of({7, 5, 3}, {0.8, 0.9, 2.5},
                             [](auto x, auto y, auto z) { return 100 * z + 10 * y + x; });
  const ModelDescriptor d = plain();
  const ModelGrid grid(v, d);
  ASSERT_EQ(grid.size(), (std::array<std::int64_t, 3>{3, 5, 7}));
  for (std::int64_t z = 0; z < 3; ++z) {
    const auto plane = grid.plane(z);
    for (std::size_t i = 0; i < plane.size(); ++i) EXPECT_EQ(plane[i], v.slice(z)[i]);
  }
}

TEST(ModelGrid, ClipsAndScales) {
  const Volume v =
      volume_of({4, 1, 1}, {1, 1, 1}, [](auto x, auto, auto) { return 400 * x - 500; });
  ModelDescriptor d = plain();
  d.low_hu = -100;
  d.high_hu = 400;
  d.factor = 1.0 / 500;
  d.offset = 0.2;
  const ModelGrid grid(v, d);
  const auto plane = grid.plane(0);
  EXPECT_FLOAT_EQ(plane[0], 0);
  EXPECT_FLOAT_EQ(plane[1], 0);
  EXPECT_FLOAT_EQ(plane[2], 0.8F);
  EXPECT_FLOAT_EQ(plane[3], 1);
}

// HU that grow linearly along every axis come out linear on any grid: sizes, directions and places
// are right: exactly on the finer grid. On a coarser one the mean takes parts of samples, which is
// off by at most an eighth of a sample's step along each axis.
TEST(ModelGrid, KeepsALinearVolumeLinear) {
  const Volume v = volume_of({40, 30, 20}, {1, 1.5, 3}, [](auto x, auto y, auto z) {
    return 10 * x + 15 * y + 30 * z;  // 10 HU a millimetre along each axis
  });
  for (const double spacing : {0.6, 2.0, 4.0}) {
    ModelDescriptor d = plain();
    d.spacing_mm = {spacing, spacing, spacing};
    const ModelGrid grid(v, d);
    const auto size = grid.size();
    EXPECT_EQ(size[0], std::llround(60 / spacing));
    EXPECT_EQ(size[2], std::llround(40 / spacing));
    // Away from the border, where samples are held or averaged over less.
    const auto margin = static_cast<std::int64_t>(std::ceil(4 / spacing));
    for (std::int64_t z = margin; z < size[0] - margin; ++z) {
      const auto plane = grid.plane(z);
      for (std::int64_t y = margin; y < size[1] - margin; ++y)
        for (std::int64_t x = margin; x < size[2] - margin; ++x) {
          const auto mm = [&](std::int64_t i, std::int64_t n, double length) {
            return length / 2 + (static_cast<double>(i) - static_cast<double>(n - 1) / 2) * spacing;
          };
          const double expected =
              10 * (mm(x, size[2], 39) + mm(y, size[1], 43.5) + mm(z, size[0], 57));
          EXPECT_NEAR(plane[static_cast<std::size_t>(y * size[2] + x)], std::min(expected, 2000.0),
                      spacing < 1 ? 0.01 : (1 + 1.5 + 3) * 10 / 8.0)
              << spacing << ": " << x << " " << y << " " << z;
        }
    }
  }
}

// An asymmetric block goes to the network's grid and back to where it was, to a voxel at its faces.
TEST(ModelGrid, BringsABlockBackToItsPlace) {
  const auto inside = [](auto x, auto y, auto z) {
    return x >= 5 && x < 26 && y >= 12 && y < 24 && z >= 3 && z < 15;
  };
  const Volume v = volume_of({40, 31, 20}, {1, 1.5, 3},
                             [&](auto x, auto y, auto z) { return inside(x, y, z) ? 100 : 0; });
  std::vector<ModelDescriptor> models(5, plain());
  models[1].spacing_mm = {1.3, 1.3, 1.3};
  models[2].spacing_mm = {std::nullopt, 2.0, 2.0};
  models[3].size = {{64, 48}};
  models[4].multiple = 32;
  for (std::size_t m = 0; m < models.size(); ++m) {
    const ModelGrid grid(v, models[m]);
    const auto planes = above(grid, 50);
    std::int64_t wrong = 0, off_face = 0;
    for (std::int64_t z = 0; z < 20; ++z) {
      const auto slice = grid.native_slice(z, planes);
      ASSERT_TRUE(slice.empty() || slice.size() == 40U * 31U);
      for (std::int64_t y = 0; y < 31; ++y)
        for (std::int64_t x = 0; x < 40; ++x) {
          const bool found = !slice.empty() && slice[static_cast<std::size_t>(y * 40 + x)] >= 0.5F;
          if (found == inside(x, y, z)) continue;
          ++wrong;
          bool face = false;  // a neighbour on the other side
          for (std::int64_t dz = -1; dz <= 1; ++dz)
            for (std::int64_t dy = -1; dy <= 1; ++dy)
              for (std::int64_t dx = -1; dx <= 1; ++dx)
                face |= inside(x + dx, y + dy, z + dz) != inside(x, y, z);
          off_face += face ? 0 : 1;
        }
    }
    EXPECT_EQ(off_face, 0) << m;
    // Where the grid is the volume's own or padded only, every voxel is where it was.
    EXPECT_LT(wrong, m == 0 || m == 4 ? 1 : 600) << m;
  }
}

TEST(ModelGrid, CropsAndPadsCentred) {
  const Volume v =
      volume_of({10, 6, 1}, {1, 1, 1}, [](auto x, auto y, auto) { return 10 * y + x; });
  ModelDescriptor d = plain();
  d.spacing_mm = {std::nullopt, 1.0, 1.0};
  d.size = {{8, 8}};  // one row more above and below, one column less on either side
  const ModelGrid grid(v, d);
  ASSERT_EQ(grid.size(), (std::array<std::int64_t, 3>{1, 8, 8}));
  const auto plane = grid.plane(0);
  for (std::int64_t y = 0; y < 8; ++y)
    for (std::int64_t x = 0; x < 8; ++x)
      EXPECT_EQ(plane[static_cast<std::size_t>(y * 8 + x)],
                y < 1 || y > 6 ? -2000 : static_cast<float>(10 * (y - 1) + x + 1));
}

// With uneven slices a resampled position is the one in mm, not the one by number.
TEST(ModelGrid, KnowsUnevenSlices) {
  Volume v = volume_of({1, 1, 4}, {1, 1, 5}, [](auto, auto, auto) { return 0; });
  v.z_mm = {0, 5, 20, 25};
  for (std::size_t z = 0; z < 4; ++z) v.hu[z] = static_cast<std::int16_t>(v.z_mm[z] * 10);
  ModelDescriptor d = plain();
  d.spacing_mm[0] = 2.5;
  const ModelGrid grid(v, d);
  ASSERT_EQ(grid.size()[0], 12);  // 25 mm between the outer slices, and one slice more
  for (std::int64_t j = 1; j < 11; ++j)
    EXPECT_NEAR(grid.plane(j)[0], 10 * (12.5 + (static_cast<double>(j) - 5.5) * 2.5), 0.01) << j;
}

}  // namespace
}  // namespace wsp
