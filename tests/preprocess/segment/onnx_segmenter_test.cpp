#include <gtest/gtest.h>

#include "io/core/hash.hpp"
#include "preprocess/segment/models_by_python.hpp"

namespace wsp {
namespace {

class OnnxSegmenterTest : public ModelsByPython {
 protected:
  void SetUp() override {
    ModelsByPython::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    static const bool written =
        python("onnx " + models().string() +
               " band turned padded below above labels ramp rolled out_of_range wrong_shape");
    ASSERT_TRUE(written);
  }
};

TEST_F(OnnxSegmenterTest, EqualsAnExplicitReferenceToTheVoxel) { expect_equal_to_python("_onnx"); }

TEST_F(OnnxSegmenterTest, GivesTheSameBytesAtAnyNumberOfThreads) {
  expect_same_at_any_number_of_threads("_onnx");
}

TEST_F(OnnxSegmenterTest, SaysWhatIsWrongBeforeTheFirstCase) {
  expect_usage(descriptor("wrong_shape_onnx"), "the model's output has the shape");
  expect_usage(descriptor("out_of_range_onnx"), "[0, 1]");
  expect_usage(descriptor("band_onnx"), "an ONNX model runs on the CPU", "cuda");
  expect_usage(descriptor("band"), "names a TorchScript file");
  try {
    (void)make_segmenter(descriptor("band_onnx"), "cpu", {}, "bf16");
    FAIL() << "bf16";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("--precision"), std::string::npos) << e.what();
  }
  auto json = nlohmann::json::parse(read_file(descriptor("band_onnx")));
  const auto replace = [&](const std::string& bytes) {
    write_file_atomic(models() / "other.onnx", bytes);
    json["file"] = "other.onnx";
    json["sha256"] = hex(sha256(bytes));
    write_file_atomic(models() / "other.json", json.dump());
  };
  replace("no model");
  expect_usage(models() / "other.json", "cannot be loaded: expected an ONNX model");
  const std::string whole = read_file(models() / "below.onnx");  // of five channels, not one
  replace(whole);
  expect_usage(models() / "other.json", "fails on a small input");
  for (const std::size_t cut : {whole.size() / 2, whole.size() - 1}) {
    replace(whole.substr(0, cut));
    expect_usage(models() / "other.json", "cannot be loaded");
  }
}

}  // namespace
}  // namespace wsp
