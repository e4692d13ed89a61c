// What voxels prove: sound volumes of every kind are taken, other scales and label maps are not.
#include "io/medical/value_proof.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "io/core/hu_scale.hpp"

namespace wsp {
namespace {

/// A body of 40 HU with a rim of fat, a liver of `liver` HU, a spine, lungs above; air around it.
struct Body {
  double noise = 12, fat = -100, muscle = 45, liver = 110, air = -1000;
  std::int64_t nx = 72, nz = 12;
  bool lungs = true;
};

using Values = std::vector<double>;  // before they are rounded and clamped to int16

struct Image {
  Geometry geometry;
  Values values;
};

Image draw(const Body& b) {
  Image image;
  image.geometry.size = {b.nx, b.nx, b.nz};
  image.geometry.spacing_mm = {400.0 / static_cast<double>(b.nx), 400.0 / static_cast<double>(b.nx),
                               5};
  std::mt19937 random(7);
  std::normal_distribution<double> noise(0, b.noise > 0 ? b.noise : 1);
  const auto inside = [](double x, double y, double cx, double cy, double rx, double ry) {
    return std::pow((x - cx) / rx, 2) + std::pow((y - cy) / ry, 2) < 1;
  };
  for (std::int64_t z = 0; z < b.nz; ++z)
    for (std::int64_t j = 0; j < b.nx; ++j)
      for (std::int64_t i = 0; i < b.nx; ++i) {
        const double x = 2.0 * static_cast<double>(i) / static_cast<double>(b.nx) - 1;
        const double y = 2.0 * static_cast<double>(j) / static_cast<double>(b.nx) - 1;
        double hu = b.air;
        if (inside(x, y, 0, 0, 0.8, 0.6)) hu = b.fat;
        if (inside(x, y, 0, 0, 0.7, 0.5)) hu = b.muscle;
        if (inside(x, y, -0.35, 0, 0.3, 0.35)) hu = b.liver;
        if (b.lungs && z > 2 * b.nz / 3 && inside(x, y, 0.35, 0, 0.25, 0.35))
          hu = -850 + 60 * std::sin(20 * x);
        if (inside(x, y, 0, 0.35, 0.08, 0.08)) hu = 400 + 300 * x;
        image.values.push_back(hu + (b.noise > 0 ? noise(random) : 0));
      }
  return image;
}

ValueVerdict judged(const Image& image) {
  Volume volume;
  volume.geometry = image.geometry;
  StoredStatistics stored;
  stored.minimum = std::llround(*std::min_element(image.values.begin(), image.values.end()));
  stored.maximum = std::llround(*std::max_element(image.values.begin(), image.values.end()));
  for (const double value : image.values) {
    stored.whole = stored.whole && (value == std::nearbyint(value) || std::abs(value) > 40);
    volume.hu.push_back(
        static_cast<std::int16_t>(std::lrint(std::clamp(value, -32768.0, 32767.0))));
  }
  return judge_values(volume, stored);
}

Image mapped(Image image, const std::function<double(double)>& f) {
  for (double& value : image.values) value = f(value);
  return image;
}

Image cropped(const Image& from, std::int64_t x0, std::int64_t x1, std::int64_t y0,
              std::int64_t y1) {
  Image image;
  image.geometry = from.geometry;
  image.geometry.size = {x1 - x0, y1 - y0, from.geometry.size[2]};
  for (std::int64_t z = 0; z < from.geometry.size[2]; ++z)
    for (std::int64_t y = y0; y < y1; ++y)
      for (std::int64_t x = x0; x < x1; ++x)
        image.values.push_back(from.values[static_cast<std::size_t>(
            (z * from.geometry.size[1] + y) * from.geometry.size[0] + x)]);
  return image;
}

void expect_taken(const Image& image, const std::string& what) {
  const auto verdict = judged(image);
  EXPECT_EQ(verdict.code, Code::USED) << what << ": " << verdict.detail;
}

void expect_code(const Image& image, Code code, const std::string& what) {
  const auto verdict = judged(image);
  EXPECT_EQ(to_string(verdict.code), to_string(code)) << what << ": " << verdict.detail;
  EXPECT_FALSE(verdict.detail.empty()) << what;
}

std::vector<std::pair<std::string, Body>> sound() {
  std::vector<std::pair<std::string, Body>> all{{"noisy", {}}};
  const auto add = [&](const char* name, const std::function<void(Body&)>& change) {
    Body b;
    change(b);
    all.emplace_back(name, b);
  };
  add("without noise", [](Body& b) { b.noise = 0; });
  add("without fat", [](Body& b) { b.fat = b.muscle; });
  add("without fat or noise", [](Body& b) {
    b.fat = b.muscle = 40;
    b.noise = 0;
  });
  add("unenhanced", [](Body& b) { b.liver = 55; });
  add("fatty liver", [](Body& b) { b.liver = -5; });
  add("much contrast", [](Body& b) { b.liver = 310; });
  add("air of an old scanner", [](Body& b) { b.air = -953; });
  add("low dose", [](Body& b) { b.noise = 60; });
  add("80 kVp", [](Body& b) { b.fat = -125; });
  return all;
}

TEST(ValueProof, SoundVolumesAreTaken) {
  for (const auto& [name, body] : sound()) {
    const Image image = draw(body);
    expect_taken(image, name);
    expect_taken(mapped(image, [](double v) { return std::clamp(v, -1024.0, 1023.0); }),
                 name + ", clipped to 11 bits");
    expect_taken(mapped(image, [](double v) { return v < -800 ? -3024.0 : v; }),
                 name + ", padding for air");
    expect_taken(mapped(image, [](double v) { return std::clamp(v, -100.0, 400.0); }),
                 name + ", clipped to a window");
    expect_taken(mapped(image, [](double v) { return std::clamp(v, -160.0, 240.0); }),
                 name + ", clipped to another");
  }
}

TEST(ValueProof, CropsAreTaken) {
  for (const auto& [name, body] : sound()) {
    const Image image = draw(body);
    expect_taken(cropped(image, 20, 52, 25, 47), name + ", without air");
    expect_taken(cropped(image, 14, 34, 28, 44), name + ", liver");
    expect_taken(cropped(image, 41, 57, 26, 46), name + ", lung and below");
    expect_taken(cropped(image, 0, 40, 0, 72), name + ", half");
  }
}

TEST(ValueProof, ZerosAroundASoundVolumeAreFilling) {
  Image image = draw({});
  const std::int64_t n = image.geometry.size[0];
  for (std::size_t i = 0; i < image.values.size(); ++i) {
    const auto x = static_cast<std::int64_t>(i) % n;
    if (x < 6 || x >= n - 6) image.values[i] = 0;
  }
  expect_taken(image, "turned, filled with 0");
}

TEST(ValueProof, TooFewVoxelsProveNothing) {
  Image image = draw({});
  image = mapped(cropped(image, 20, 38, 20, 38), [](double v) { return v + 1024; });
  expect_taken(image, "18 x 18 x 12");
}

TEST(ValueProof, ShiftsAreRefused) {
  for (const auto& [name, body] : sound()) {
    const Image image = draw(body);
    for (const double shift :
         {1024.0, -1024.0, 1000.0, -1000.0, 500.0, 300.0, 200.0, 150.0, -200.0, -300.0, -500.0}) {
      // Cast out: a volume whose body and surroundings are even stands anywhere below.
      if (body.noise == 0 && shift < -400 && shift > -1000) continue;
      expect_code(mapped(image, [&](double v) { return v + shift; }), Code::NOT_HU,
                  name + ", shifted by " + std::to_string(shift));
    }
  }
}

TEST(ValueProof, SmallShiftsAreLeftToTheReport) {
  const Image image = draw({});
  for (double shift = -60; shift <= 60; shift += 10)
    expect_taken(mapped(image, [&](double v) { return v + shift; }), std::to_string(shift));
}

TEST(ValueProof, ShiftedLiverAloneIsNoTissue) {
  for (const auto& [name, body] : sound()) {
    if (body.liver > 200) continue;
    const Image liver = cropped(draw(body), 14, 34, 28, 46);
    expect_code(mapped(liver, [](double v) { return v + 1024; }), Code::NOT_HU, name);
  }
}

TEST(ValueProof, OtherScalesAreRefused) {
  const auto window = [](double low, double high) {
    return [=](double v) { return (std::clamp(v, low, high) - low) / (high - low); };
  };
  std::mt19937 random(3);
  std::normal_distribution<double> noise(0, 1);
  const std::vector<std::pair<std::string, std::function<double(double)>>> scales{
      {"[0, 1]", window(-100, 400)},
      {"0 to 255", [&](double v) { return std::nearbyint(255 * window(-160, 240)(v)); }},
      {"0 to 255, wide", [&](double v) { return std::nearbyint(255 * window(-1000, 1000)(v)); }},
      {"0 to 500", [](double v) { return std::clamp(v, -100.0, 400.0) + 100; }},
      {"inverted", [&](double v) { return 255 - std::nearbyint(255 * window(-1000, 1000)(v)); }},
      {"negative", [](double v) { return -v; }},
      {"[-1, 1]", [&](double v) { return 2 * window(-1000, 1000)(v) - 1; }},
      {"thousandths", [](double v) { return v / 1000; }},
      {"electron density", [](double v) { return std::max(0.0, 1 + v / 1000); }},
      {"electron density x 1000",
       [](double v) { return std::max(0.0, 1000 + v * (v > 0 ? 0.6 : 1)); }},
      {"electron density in percent", [](double v) { return std::max(0.0, 100 + v / 10); }},
      {"Z-eff x 100",
       [&](double v) { return v < -500 ? 760 + 60 * noise(random) : 742 + 0.3 * v; }},
      {"iodine x 10", [](double v) { return v < -500 ? 0 : std::max(0.0, (v - 40) / 3); }},
      {"MR", [&](double v) { return v < -500 ? std::abs(8 * noise(random)) : 300 + v; }},
      {"PET", [&](double v) { return v < -500 ? std::abs(0.05 * noise(random)) : (v + 150) / 40; }},
      {"z scores", [](double v) { return (v + 400) / 500; }}};
  for (const auto& [body_name, body] : sound()) {
    if (body.liver > 200 || body.noise > 50) continue;
    const Image image = draw(body);
    for (const auto& [name, scale] : scales)
      expect_code(mapped(image, scale), Code::NOT_HU, body_name + ", " + name);
  }
}

TEST(ValueProof, LabelsAreALabelMap) {
  const Image image = draw({});
  const auto of = [&](const std::function<double(double)>& f) {
    Body even;
    even.noise = 0;
    return mapped(draw(even), f);
  };
  const auto liver = [](double v) { return v == 110 ? 1.0 : 0.0; };
  expect_code(of(liver), Code::LABEL_MAP, "0 and 1");
  expect_code(of([&](double v) { return 255 * liver(v); }), Code::LABEL_MAP, "0 and 255");
  expect_code(of([&](double v) { return liver(v) - 1024; }), Code::LABEL_MAP,
              "stored with an offset");
  expect_code(of([&](double v) {
                return v == 110 ? 5 : v == 45 ? 2 : v == -100 ? 1 : v > 200 ? 7 : 0;
              }),
              Code::LABEL_MAP, "several");
  expect_code(of([](double) { return 0; }), Code::LABEL_MAP, "empty");
  // A probability is none, nor is a CT of three values.
  expect_code(mapped(image, [](double v) { return 1 / (1 + std::exp(-(v - 60) / 10)); }),
              Code::NOT_HU, "probability");
  expect_taken(of([](double v) { return v < -500 ? -1000 : v == 110 ? 110 : 40; }), "three HU");
  expect_taken(of([](double v) { return v < -500 ? -1000 : 40; }), "two HU");
}

TEST(HuScale, CountsByHalfOpenRanges) {
  const ValueHistogram h{-1100, 10, std::vector<std::int64_t>(310, 1)};
  EXPECT_EQ(h.count(-100, 0), 10);
  EXPECT_EQ(h.count(-1e9, 1e9), 310);
  EXPECT_EQ(h.count(0, 0), 0);
  EXPECT_EQ(h.total(), 310);
  EXPECT_EQ(hu_contradiction({-1100, 10, std::vector<std::int64_t>(310, 0)}, {}), "");
}

}  // namespace
}  // namespace wsp
