#include "train/unet/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(UNetConfig, DefaultsFollowTheSchemaAndAreItsExample) {
  UNetConfig config;
  config.dataset_sha256 = std::string(64, '0');
  const auto example = load_json(WSP_SOURCE_DIR "/schemas/examples/unet_config.json");
  EXPECT_EQ(to_json(config), example);
  EXPECT_EQ(to_json(unet_config_from_json(example)), example);
  EXPECT_NO_THROW(check_config(config));
}

TEST(UNetConfig, RefusesWhatDoesNotFollowTheSchema) {
  auto value = to_json(UNetConfig{});
  value["width"] = "wide";
  try {
    (void)unet_config_from_json(value);
    FAIL() << "a width of words was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::corrupt);
    EXPECT_THAT(e.what(), HasSubstr("/width"));
  }
  value = to_json(UNetConfig{});
  value.erase("gamma");
  EXPECT_THROW((void)unet_config_from_json(value), Error);
}

TEST(UNetConfig, ReadsThatOfARunBeforeChannelsLast) {
  auto value = to_json(UNetConfig{});
  value.erase("channels_last");
  EXPECT_EQ(unet_config_from_json(value).channels_last, "auto");
}

TEST(UNetConfig, NamesTheOptionThatIsOutOfRange) {
  const auto refusal = [](auto change) {
    UNetConfig config;
    change(config);
    try {
      check_config(config);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal([](UNetConfig& c) { c.image_size = 192; }), HasSubstr("--image-size is 192"));
  EXPECT_THAT(refusal([](UNetConfig& c) { c.image_size = 72; }), HasSubstr("2^depth"));
  EXPECT_THAT(refusal([](UNetConfig& c) { c.learning_rate = -1; }), HasSubstr("--lr is -1"));
  EXPECT_THAT(refusal([](UNetConfig& c) { c.elastic = 0.5; }), HasSubstr("--elastic is 0.5"));
  EXPECT_THAT(refusal([](UNetConfig& c) { c.schedule = "step"; }), HasSubstr("poly, cosine"));
  EXPECT_THAT(refusal([](UNetConfig& c) { c.channels_last = "yes"; }), HasSubstr("auto, on, off"));
  EXPECT_THAT(refusal([](UNetConfig& c) { c.noise = std::nan(""); }), HasSubstr("--noise"));
}

TEST(UNetConfig, NamesDifferences) {
  UNetConfig was, is;
  EXPECT_TRUE(differences(was, is).empty());
  is.learning_rate = 0.5;
  is.splits = {"train"};
  EXPECT_THAT(differences(was, is),
              ElementsAre("--lr: was 0.001, is 0.5", "--split: was none, is [\"train\"]"));
}

}  // namespace
}  // namespace wsp::train
