#pragma once
#include <sys/wait.h>

#include <cstdio>
#include <iostream>
#include <random>

#include "train/kernels/augment.hpp"
#include "train/kernels/augment_thread.hpp"
#include "train/kernels/contrastive_reference.hpp"

/// What the tests of augmentation share.
namespace wsp::train::test {

inline std::vector<std::int16_t> random_images(std::int64_t n, std::int64_t size,
                                               std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> hu(-100, 400);
  std::vector<std::int16_t> images(static_cast<std::size_t>(n * size * size));
  for (auto& value : images) value = static_cast<std::int16_t>(hu(random));
  return images;
}

inline std::vector<float> augment(const std::vector<std::int16_t>& hu,
                                  const std::vector<Affine>& affine, std::int64_t n,
                                  std::int64_t size, int threads = 2) {
  const auto views = static_cast<std::int64_t>(affine.size()) / n;
  std::vector<float> out(static_cast<std::size_t>(views * n * size * size), -7.0F);
  with_threads(threads, [&] {
    augment_cpu(hu.data(), affine.data(), n, views, size, out.data());
    return 0;
  });
  return out;
}

}  // namespace wsp::train::test
