#include "train/model/catalogue.hpp"

namespace wsp::train {
namespace {

constexpr EncoderFacts kEncoders[] = {
    {"tinynet", "five convolutions, the paper's"},
    {"resnet18", ""},
    {"resnet34", ""},
    {"resnet50", ""},
};

constexpr MethodFacts kMethods[] = {
    {.name = "wsp", .summary = "label and depth", .use_label = true, .use_depth = true},
    {.name = "simclr", .summary = "own view", .own_view_only = true},
    {.name = "supcon", .summary = "label", .use_label = true},
    {.name = "depth-aware", .summary = "depth", .use_depth = true},
    {.name = "yaware", .summary = "a number", .use_number = true},
    {.name = "lexp", .summary = "a number, also in what repels", .use_number = true},
    {.name = "rnc", .summary = "ranks of a number", .own_view_only = true, .use_number = true},
    {.name = "byol", .summary = "own view, no negatives", .own_view_only = true},
    {.name = "simsiam", .summary = "own view, no negatives", .own_view_only = true},
    {.name = "barlow-twins", .summary = "own view, decorrelated", .own_view_only = true},
    {.name = "kernel-byol", .summary = "label and depth", .use_label = true, .use_depth = true},
    {.name = "kernel-simsiam", .summary = "label and depth", .use_label = true, .use_depth = true},
    {.name = "kernel-barlow-twins",
     .summary = "label and depth",
     .use_label = true,
     .use_depth = true},
    {.name = "supervised", .summary = "cross-entropy of the label", .use_label = true},
    {.name = "random", .summary = "no training", .own_view_only = true},
};

template <class Facts>
std::vector<std::string> names_of(std::span<const Facts> all) {
  std::vector<std::string> names;
  for (const Facts& facts : all) names.emplace_back(facts.name);
  return names;
}

template <class Facts>
std::string text_of(std::span<const Facts> all) {
  std::string text;
  for (const Facts& facts : all) {
    text += (text.empty() ? "" : ", ") + std::string(facts.name);
    if (*facts.summary != '\0') text += " (" + std::string(facts.summary) + ")";
  }
  return text;
}

}  // namespace

std::span<const EncoderFacts> encoders() { return kEncoders; }
std::vector<std::string> encoder_names() { return names_of(encoders()); }
std::string encoders_text() { return text_of(encoders()); }

std::span<const MethodFacts> methods() { return kMethods; }
std::vector<std::string> method_names() { return names_of(methods()); }
std::string methods_text() { return text_of(methods()); }

std::optional<MethodFacts> method_facts(const std::string& name) {
  for (const MethodFacts& facts : kMethods)
    if (name == facts.name) return facts;
  return std::nullopt;
}

}  // namespace wsp::train
