#include "preprocess/segment/descriptor.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {
namespace {

nlohmann::json example() {
  return load_json(WSP_SOURCE_DIR "/schemas/examples/segmentation_model.json");
}

nlohmann::json volumetric() {
  auto json = example();
  auto& input = json["input"];
  for (const char* key : {"neighbours", "size"}) input.erase(key);
  input["dimensions"] = "3d";
  input["patch"] = {96, 64, 32};
  return json;
}

void expect_refused(const nlohmann::json& json, const std::string& words) {
  try {
    (void)parse_descriptor(json, "model.json");
    FAIL() << "expected '" << words << "' for " << json["input"].dump() << json["output"].dump();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    const std::string said = e.what();
    EXPECT_NE(said.find(words), std::string::npos) << said;
    EXPECT_NE(said.find("model.json"), std::string::npos) << said;
    EXPECT_NE(said.find("docs/MODELS.md"), std::string::npos) << said;
  }
}

TEST(Descriptor, ResolvesTheExample) {
  const ModelDescriptor d = parse_descriptor(example(), "/models/liver.json");
  EXPECT_EQ(d.file, "/models/liver-unet.ts");
  EXPECT_EQ(d.dimensions, 2);
  EXPECT_EQ(d.channels(), 3);
  EXPECT_EQ(d.axes[0].volume_axis, 2);
  EXPECT_EQ(d.axes[1].volume_axis, 1);
  EXPECT_EQ(d.axes[2].volume_axis, 0);
  EXPECT_FALSE(d.axes[0].reversed || d.axes[1].reversed || d.axes[2].reversed);
  EXPECT_DOUBLE_EQ(-100 * d.factor + d.offset, 0);
  EXPECT_DOUBLE_EQ(400 * d.factor + d.offset, 1);
}

TEST(Descriptor, ReadsOrientationAndStandardisation) {
  auto json = volumetric();
  json["input"]["orientation"] = "RSA";
  json["input"].erase("scale");
  json["input"]["mean"] = 50;
  json["input"]["std"] = 25;
  const ModelDescriptor d = parse_descriptor(json, "m.json");
  EXPECT_EQ(d.axes[0].volume_axis, 0);
  EXPECT_TRUE(d.axes[0].reversed);
  EXPECT_EQ(d.axes[1].volume_axis, 2);
  EXPECT_FALSE(d.axes[1].reversed);
  EXPECT_EQ(d.axes[2].volume_axis, 1);
  EXPECT_TRUE(d.axes[2].reversed);
  EXPECT_DOUBLE_EQ(100 * d.factor + d.offset, 2);
  EXPECT_DOUBLE_EQ(d.overlap, 0.5);
}

TEST(Descriptor, IdentityIsItsMeaning) {
  auto json = example();
  const std::string identity = parse_descriptor(json, "m.json").identity;
  json["comment"] = "another remark";
  json["file"] = "renamed.ts";
  EXPECT_EQ(parse_descriptor(json, "elsewhere/m.json").identity, identity);
  // A hash means the same in capitals.
  auto lower = example(), upper = example();
  lower["sha256"] = std::string(64, 'a');
  upper["sha256"] = std::string(64, 'A');
  EXPECT_EQ(parse_descriptor(upper, "m.json").identity, parse_descriptor(lower, "m.json").identity);
  EXPECT_EQ(parse_descriptor(upper, "m.json").sha256, lower["sha256"].get<std::string>());
  for (const auto& [pointer, value] :
       std::map<std::string, nlohmann::json>{{"/sha256", std::string(64, 'a')},
                                             {"/output/threshold", 0.4},
                                             {"/input/window_hu", {-150, 400}},
                                             {"/input/orientation", "SAL"},
                                             {"/model_version", "2"}}) {
    auto other = example();
    other[nlohmann::json::json_pointer(pointer)] = value;
    EXPECT_NE(parse_descriptor(other, "m.json").identity, identity) << pointer;
  }
}

TEST(Descriptor, SaysWhatContradictsItself) {
  const auto changed = [](nlohmann::json json, const char* pointer, nlohmann::json value) {
    json[nlohmann::json::json_pointer(pointer)] = std::move(value);
    return json;
  };
  const auto without = [](nlohmann::json json, const char* part, const char* key) {
    json[part].erase(key);
    return json;
  };
  const auto flat = example(), deep = volumetric();
  expect_refused(changed(flat, "/input/orientation", "SLR"), "one letter each");
  expect_refused(changed(flat, "/input/orientation", "PSL"), "first letter is S or I");
  expect_refused(changed(flat, "/input/orientation", "SPX"), "/input/orientation");
  expect_refused(without(flat, "input", "neighbours"), "2.5d needs neighbours or context_mm");
  expect_refused(changed(flat, "/input/context_mm", {6, 16}), "one of them");
  const auto distant = without(flat, "input", "neighbours");
  expect_refused(changed(distant, "/input/context_mm", {16, 6}), "ascending");
  expect_refused(changed(distant, "/input/context_mm", {0, 6}), "/input/context_mm");
  expect_refused(changed(changed(distant, "/input/context_mm", {6}), "/input/dimensions", "2d"),
                 "context_mm is for");
  EXPECT_EQ(parse_descriptor(changed(distant, "/input/context_mm", {6, 16}), "m.json").channels(),
            5);
  expect_refused(changed(flat, "/input/dimensions", "2d"), "neighbours is for");
  expect_refused(changed(flat, "/input/patch", {8, 8, 8}), "patch is for");
  expect_refused(changed(flat, "/input/multiple", 16), "exclude each other");
  expect_refused(changed(flat, "/input/spacing_mm", {nullptr, 1, nullptr}), "in-plane direction");
  expect_refused(changed(flat, "/input/window_hu", {400, -100}), "lower value first");
  expect_refused(changed(flat, "/input/scale", {1, 1}), "one value");
  expect_refused(changed(flat, "/input/mean", 1), "mean and std go together");
  expect_refused(changed(changed(flat, "/input/mean", 1), "/input/std", 2), "exclude each other");
  expect_refused(changed(flat, "/output/liver_labels", {1}), "exclude each other");
  expect_refused(changed(flat, "/output/liver_channels", {1, 1}), "twice");
  expect_refused(without(flat, "output", "activation"), "needs activation and liver_channels");
  expect_refused(changed(flat, "/sha256", "abc"), "/sha256");
  expect_refused(without(deep, "input", "patch"), "3d needs patch");
  expect_refused(changed(deep, "/input/size", {64, 64}), "give patch");
}

}  // namespace
}  // namespace wsp
