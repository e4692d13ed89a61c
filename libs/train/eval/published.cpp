#include "train/eval/published.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace wsp::train {
namespace {

struct Row {
  std::string_view backbone, method;
  std::array<PublishedValue, 3> value;  // D1, D2, D1+2
};
constexpr std::array<Row, 15> kAuc{{
    {"tinynet", "supervised", {{{0.79, 0.05}, {0.65, 0.25}, {0.71, 0.04}}}},
    {"tinynet", "random", {{{0.64, 0.10}, {0.75, 0.13}, {0.73, 0.06}}}},
    {"tinynet", "simclr", {{{0.75, 0.08}, {0.88, 0.16}, {0.76, 0.11}}}},
    {"tinynet", "byol", {{{0.75, 0.09}, {0.95, 0.07}, {0.77, 0.08}}}},
    {"tinynet", "supcon", {{{0.76, 0.09}, {0.93, 0.07}, {0.72, 0.06}}}},
    {"tinynet", "depth-aware", {{{0.80, 0.13}, {0.81, 0.08}, {0.77, 0.08}}}},
    {"tinynet", "wsp", {{{0.84, 0.12}, {0.91, 0.11}, {0.79, 0.11}}}},
    {"resnet18", "supervised", {{{0.77, 0.10}, {0.56, 0.29}, {0.72, 0.08}}}},
    {"resnet18", "random", {{{0.69, 0.19}, {0.73, 0.12}, {0.68, 0.09}}}},
    {"resnet18", "imagenet", {{{0.72, 0.17}, {0.76, 0.04}, {0.66, 0.10}}}},
    {"resnet18", "simclr", {{{0.79, 0.09}, {0.82, 0.14}, {0.79, 0.08}}}},
    {"resnet18", "byol", {{{0.78, 0.09}, {0.77, 0.11}, {0.78, 0.08}}}},
    {"resnet18", "supcon", {{{0.69, 0.07}, {0.69, 0.13}, {0.76, 0.12}}}},
    {"resnet18", "depth-aware", {{{0.83, 0.07}, {0.82, 0.11}, {0.80, 0.07}}}},
    {"resnet18", "wsp", {{{0.84, 0.07}, {0.85, 0.10}, {0.84, 0.07}}}},
}};

struct SigmaRow {
  double sigma;
  std::array<PublishedValue, 3> value;
};
constexpr std::array<SigmaRow, 5> kSigma{{
    {0.01, {{{0.81, 0.07}, {0.85, 0.13}, {0.81, 0.08}}}},
    {0.1, {{{0.85, 0.10}, {0.91, 0.11}, {0.79, 0.10}}}},
    {0.2, {{{0.75, 0.08}, {0.85, 0.07}, {0.72, 0.08}}}},
    {0.3, {{{0.78, 0.09}, {0.82, 0.31}, {0.76, 0.06}}}},
    {0.5, {{{0.73, 0.15}, {0.89, 0.12}, {0.76, 0.07}}}},
}};

struct AccuracyRow {
  std::string_view method;
  PublishedValue value;
};
constexpr std::array<AccuracyRow, 9> kAccuracy{
    {{"supervised", {0.78, 0.04}},
     {"random", {0.71, 0.13}},
     {"imagenet", {0.74, 0.13}},
     {"simclr", {0.78, 0.08}},
     {"byol", {0.77, 0.04}},
     {"supcon", {0.77, 0.10}},
     {"depth-aware", {0.84, 0.04}},
     {"wsp", {0.85, 0.09}},
     {"readers", {0.82, std::numeric_limits<double>::quiet_NaN()}}}};

std::optional<std::size_t> column_of(const std::string& evaluation) {
  if (evaluation == "D1") return 0;
  if (evaluation == "D2") return 1;
  if (evaluation == "D1+2") return 2;
  return std::nullopt;
}

}  // namespace

std::string PublishedValue::text() const {
  return std::isnan(sd) ? fmt::format("{:.2f}", mean) : fmt::format("{:.2f} ({:.2f})", mean, sd);
}

std::optional<PublishedValue> published_auc(const std::string& backbone, const std::string& method,
                                            const std::string& evaluation) {
  const auto column = column_of(evaluation);
  if (column)
    for (const Row& row : kAuc)
      if (row.backbone == backbone && row.method == method) return row.value[*column];
  return std::nullopt;
}

std::optional<PublishedValue> published_balanced_accuracy(const std::string& method,
                                                          const std::string& evaluation) {
  if (evaluation != "D1") return std::nullopt;
  for (const AccuracyRow& row : kAccuracy)
    if (row.method == method) return row.value;
  return std::nullopt;
}

std::optional<PublishedValue> published_sigma(const std::string& backbone, double sigma,
                                              const std::string& evaluation) {
  if (backbone != "tinynet") return std::nullopt;
  const auto column = column_of(evaluation);
  if (column)
    for (const SigmaRow& row : kSigma)
      if (std::abs(row.sigma - sigma) < 1e-9) return row.value[*column];
  return std::nullopt;
}

}  // namespace wsp::train
