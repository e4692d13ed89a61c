#pragma once
#include <gtest/gtest.h>

#include <functional>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "train/eval/features.hpp"

/// What the tests of the evaluation share.
namespace wsp::train::test {

// Depth runs along feature 0, the diagnosis along feature 1; the rest is noise.
inline FeatureTable make_features(int cases, std::uint64_t seed, const std::string& dataset) {
  FeatureTable t;
  t.dimensions = 12;
  t.label_names = {"label", "stage"};
  t.labels.resize(2);
  for (int c = 0; c < cases; ++c) {
    CounterRng rng(seed, {static_cast<std::uint64_t>(c)});
    const std::string number = std::to_string(100 + c);
    t.cases.push_back({"case-" + dataset + number, "sub-" + dataset + number,
                       c % 2 == 0 ? 2.0 : 5.0, 0.8, c % 3 == 0 ? "sharp" : "soft",
                       c % 2 == 0 ? "GE" : "Siemens", c == 3 ? "portal" : ""});
    t.labels[0].push_back(c % 2);
    t.labels[1].push_back(c % 5 == 4 ? -1 : c % 5);
    const double centre = 2.0 * (c % 2) + rng.normal();
    for (int s = 0; s < 8; ++s) {
      t.case_id.push_back(c);
      t.depth.push_back(s / 7.0);
      t.content.push_back(rng.bits());
      for (int j = 0; j < 12; ++j)
        t.values.push_back(static_cast<float>(j == 0   ? 8 * s / 7.0
                                              : j == 1 ? centre
                                                       : 0.3 * rng.normal()));
    }
  }
  t.facts = {{"encoder", "tinynet"},       {"method", "wsp"},    {"encoder_sha256", "aa"},
             {"pretraining_sha256", "bb"}, {"dataset", dataset}, {"dataset_sha256", "cc"},
             {"image_size", "64"},         {"precision", "fp32"}};
  return t;
}

inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage) << e.what();
    return e.what();
  }
  return "";
}

}  // namespace wsp::train::test
