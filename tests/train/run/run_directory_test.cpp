// Checkpoints and the directory that holds them.
#include "train/run/run_directory.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/run/checkpoint.hpp"

namespace wsp::train {
namespace {

TensorFile state_of(int step) {
  TensorFile file;
  file.tensors["x"] = torch::full({100}, step, torch::kFloat);
  return file;
}

TEST(Checkpoints, NewestWholeOneWins) {
  const wsp::test::TemporaryDirectory run;
  CheckpointStore store(run.path(), 3);
  EXPECT_FALSE(store.newest());
  for (const int step : {5, 10, 15, 20}) store.save(step, state_of(step), step == 10);
  const auto directory = run.path() / "checkpoints";
  EXPECT_FALSE(std::filesystem::exists(directory / "step-000000005.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(directory / "best.safetensors"));
  EXPECT_EQ(store.newest()->state.tensors["x"][0].item<float>(), 20);
  std::filesystem::resize_file(directory / "step-000000020.safetensors", 100);
  auto found = store.newest();
  EXPECT_EQ(found->state.tensors["x"][0].item<float>(), 15);
  EXPECT_EQ(found->corrupt.size(), 1U);
  for (const char* name : {"step-000000010.safetensors", "step-000000015.safetensors"})
    std::filesystem::resize_file(directory / name, 100);
  EXPECT_EQ(store.newest()->state.tensors["x"][0].item<float>(), 10);  // the best one
  std::filesystem::resize_file(directory / "best.safetensors", 100);
  try {
    (void)store.newest();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::corrupt);
  }
}

TEST(Checkpoints, DamagedOnesAndHalvesDoNotPileUp) {
  const wsp::test::TemporaryDirectory run;
  CheckpointStore store(run.path(), 3);
  const auto directory = run.path() / "checkpoints";
  const auto names = [&] {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      found.insert(entry.path().filename().string());
    return found;
  };
  for (const int step : {1, 2, 3}) store.save(step, state_of(step), false);
  for (const char* left : {"step-000000004.safetensors.tmp", "step-000000000.safetensors.damaged"})
    write_file_atomic(directory / left, "x");
  store.set_aside(
      {directory / "step-000000003.safetensors", directory / "step-000000002.safetensors"});
  EXPECT_EQ(names(), (std::set<std::string>{"step-000000001.safetensors",
                                            "step-000000003.safetensors.damaged"}));
  store.set_aside({});
  EXPECT_EQ(names().size(), 2U) << "what was set aside last stays until there is another";
}

TEST(RunDirectory, IsHeldByOne) {
  const wsp::test::TemporaryDirectory parent;
  {
    const RunDirectory mine(parent.path() / "run");
    try {
      const RunDirectory other(parent.path() / "run");
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::output);
      EXPECT_NE(std::string(e.what()).find("another run"), std::string::npos);
    }
  }
  EXPECT_NO_THROW(RunDirectory(parent.path() / "run"));
}

}  // namespace
}  // namespace wsp::train
