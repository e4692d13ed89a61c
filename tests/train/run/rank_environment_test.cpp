// Who this process is among those that train together.
#include "train/run/rank_environment.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

class Environment : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID",
          "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_NODELIST", "SLURM_JOB_ID",
          "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
          "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"})
      ::unsetenv(name);
  }
  void TearDown() override { SetUp(); }
};

TEST_F(Environment, OneRankWithoutALauncher) {
  const RankEnvironment found = rank_environment();
  EXPECT_EQ(found.ranks, 1);
  EXPECT_EQ(found.launcher, "none");
}

TEST_F(Environment, Torchrun) {
  ::setenv("RANK", "3", 1);
  ::setenv("WORLD_SIZE", "4", 1);
  ::setenv("LOCAL_RANK", "1", 1);
  ::setenv("MASTER_ADDR", "node7", 1);
  ::setenv("MASTER_PORT", "12345", 1);
  const RankEnvironment found = rank_environment();
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.ranks, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.master, "node7");
  EXPECT_EQ(found.port, 12345);
}

TEST_F(Environment, TorchrunsAgentMayHoldTheStore) {
  ::setenv("RANK", "0", 1);
  ::setenv("WORLD_SIZE", "2", 1);
  EXPECT_FALSE(rank_environment().agent_holds_store);
  ::setenv("TORCHELASTIC_USE_AGENT_STORE", "True", 1);
  ::setenv("TORCHELASTIC_RESTART_COUNT", "2", 1);
  EXPECT_TRUE(rank_environment().agent_holds_store);
  EXPECT_EQ(rank_environment().attempt, 2);
  ::setenv("TORCHELASTIC_USE_AGENT_STORE", "False", 1);
  EXPECT_FALSE(rank_environment().agent_holds_store);
}

TEST_F(Environment, SlurmsPortIsNoneThatTheSystemGivesAway) {
  ::setenv("SLURM_PROCID", "0", 1);
  ::setenv("SLURM_STEP_NUM_TASKS", "2", 1);
  for (const char* job : {"0", "7", "12767", "12768", "19999", "2147483647"}) {
    ::setenv("SLURM_JOB_ID", job, 1);
    EXPECT_GE(rank_environment().port, 20000) << job;
    EXPECT_LT(rank_environment().port, 32768) << job;  // the first of Linux's ephemeral ports
  }
}

TEST_F(Environment, SlurmTakesTheFirstNode) {
  ::setenv("SLURM_PROCID", "5", 1);
  ::setenv("SLURM_STEP_NUM_TASKS", "8", 1);
  ::setenv("SLURM_LOCALID", "1", 1);
  ::setenv("SLURM_JOB_NODELIST", "gpu[03-05,9],cpu1", 1);
  EXPECT_EQ(rank_environment().master, "gpu03");
  ::setenv("SLURM_JOB_NODELIST", "a1,b2", 1);
  EXPECT_EQ(rank_environment().master, "a1");
}

TEST_F(Environment, Contradictions) {
  ::setenv("RANK", "4", 1);
  ::setenv("WORLD_SIZE", "4", 1);
  EXPECT_THROW((void)rank_environment(), Error);
  ::setenv("RANK", "x", 1);
  EXPECT_THROW((void)rank_environment(), Error);
}

}  // namespace
}  // namespace wsp::train
