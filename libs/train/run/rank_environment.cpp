#include "train/run/rank_environment.hpp"

#include <charconv>
#include <cstdlib>
#include <optional>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

std::optional<std::string> text(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::optional<int> number(const char* name) {
  const auto value = text(name);
  if (!value) return std::nullopt;
  int result = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), result);
  if (error != std::errc{} || end != value->data() + value->size() || result < 0)
    throw Error(ErrorCode::usage,
                std::string(name) + " is '" + *value + "': expected a whole number");
  return result;
}

struct Launcher {
  const char *name, *rank, *ranks, *local_rank;
};

constexpr Launcher kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    // Not SLURM_NTASKS, which a plain sbatch script has too.
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
};

// "gpu[03-05,9]" -> "gpu03": the first host of Slurm's list, where rank 0 runs.
std::string first_host(const std::string& list) {
  const auto bracket = list.find('[');
  const auto comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const auto end = list.find_first_of("-,]", bracket + 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

}  // namespace

RankEnvironment rank_environment() {
  RankEnvironment found;
  for (const Launcher& launcher : kLaunchers) {
    const auto rank = number(launcher.rank), ranks = number(launcher.ranks);
    if (!rank || !ranks) continue;
    found.rank = *rank;
    found.ranks = *ranks;
    found.local_rank = number(launcher.local_rank).value_or(0);
    found.launcher = launcher.name;
    break;
  }
  if (found.ranks < 1 || found.rank >= found.ranks)
    throw Error(ErrorCode::usage, "the environment of " + found.launcher + " names rank " +
                                      std::to_string(found.rank) + " of " +
                                      std::to_string(found.ranks));
  if (const auto host = text("MASTER_ADDR"))
    found.master = *host;
  else if (const auto nodes = text("SLURM_JOB_NODELIST"); nodes && found.launcher == "srun")
    found.master = first_host(*nodes);
  if (const auto port = number("MASTER_PORT")) {
    if (*port < 1 || *port > 65535)
      throw Error(ErrorCode::usage,
                  "MASTER_PORT is " + std::to_string(*port) + ": expected 1 to 65535");
    found.port = static_cast<std::uint16_t>(*port);
  } else if (const auto job = number("SLURM_JOB_ID")) {
    // Two jobs of a node differ; from 32768 on the system itself gives ports away.
    found.port = static_cast<std::uint16_t>(20000 + *job % 12000);
  }
  if (found.launcher == "torchrun") {
    found.agent_holds_store = text("TORCHELASTIC_USE_AGENT_STORE") == "True";  // Python's str(True)
    found.attempt = number("TORCHELASTIC_RESTART_COUNT").value_or(0);
  }
  return found;
}

}  // namespace wsp::train
