#pragma once
#include <cstdint>
#include <string>

namespace wsp::train {

/// Place of this process among those that train together, from the environment of torchrun (RANK,
/// WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), srun (SLURM_PROCID, SLURM_NTASKS,
/// SLURM_LOCALID) or mpirun (OMPI_COMM_WORLD_*). One rank where none of them says otherwise.
struct RankEnvironment {
  int rank = 0, ranks = 1, local_rank = 0;
  std::string master = "127.0.0.1";
  std::uint16_t port = 29500;
  std::string launcher = "none";
  /// torchrun's agent holds the store in which ranks meet (TORCHELASTIC_USE_AGENT_STORE): no rank
  /// does.
  bool agent_holds_store = false;
  int attempt = 0;  ///< of torchrun's agent, which starts all ranks again after a failure
};
/// Throws Error(usage) for values that contradict each other or are no numbers.
RankEnvironment rank_environment();

}  // namespace wsp::train
