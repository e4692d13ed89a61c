#include "train/engine/distributed.hpp"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>

#if defined(WSP_HAS_GLOO) || defined(WSP_HAS_NCCL)
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/version.h>
#endif
#ifdef WSP_HAS_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef WSP_HAS_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

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
    found = {*rank, *ranks, number(launcher.local_rank).value_or(0), found.master, found.port,
             launcher.name};
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
      throw Error(ErrorCode::usage, "MASTER_PORT is " + std::to_string(*port) +
                                        ": expected 1 to 65535");
    found.port = static_cast<std::uint16_t>(*port);
  } else if (const auto job = number("SLURM_JOB_ID")) {
    found.port = static_cast<std::uint16_t>(20000 + *job % 20000);  // two jobs of a node differ
  }
  return found;
}

#if defined(WSP_HAS_GLOO) || defined(WSP_HAS_NCCL)

#if TORCH_VERSION_MAJOR >= 2
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;
#endif

struct Ranks::Group {
  c10::intrusive_ptr<Backend> backend;
  double timeout_s = 0;

  // Every collective ends here: done, or an Error that says what most likely happened.
  template <class Start>
  void finish(const char* what, Start&& start) {
    try {
      auto work = start();
      work->wait(std::chrono::milliseconds(static_cast<std::int64_t>(timeout_s * 1000)));
    } catch (const std::exception& e) {
      const std::string reason = e.what();
      throw Error(ErrorCode::failure,
                  std::string("another rank failed or fell silent during ") + what +
                      "; see its log. All ranks stop; resume with --resume. (" +
                      reason.substr(0, reason.find('\n')) + ")");
    }
  }
};

Ranks::Ranks(const RankEnvironment& environment, const torch::Device& device, double timeout_s)
    : environment_(environment), device_(device) {
  if (environment_.ranks == 1) return;
  group_ = std::make_unique<Group>();
  group_->timeout_s = timeout_s;
  const auto timeout = std::chrono::milliseconds(static_cast<std::int64_t>(timeout_s * 1000));
  try {
    c10d::TCPStoreOptions options;
    options.port = environment_.port;
    options.isServer = environment_.rank == 0;
    options.numWorkers = static_cast<std::size_t>(environment_.ranks);
    options.timeout = timeout;
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
    options.useLibUV = false;  // the default since 2.4, and an error in a LibTorch built without it
#endif
    auto store = c10::make_intrusive<c10d::PrefixStore>(
        "wsp", c10::make_intrusive<c10d::TCPStore>(environment_.master, options));
    if (device.is_cuda()) {
#ifdef WSP_HAS_NCCL
      auto nccl = c10d::ProcessGroupNCCL::Options::create();
      nccl->timeout = timeout;
      group_->backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(
          store, environment_.rank, environment_.ranks, nccl);
#else
      throw Error(ErrorCode::usage, "this build has no NCCL: several ranks need --device cpu");
#endif
    } else {
#ifdef WSP_HAS_GLOO
      auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
      gloo->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
      group_->backend = c10::make_intrusive<c10d::ProcessGroupGloo>(
          store, environment_.rank, environment_.ranks, gloo);
#else
      throw Error(ErrorCode::usage, "this build has no Gloo: several ranks need --device cuda");
#endif
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    const std::string reason = e.what();
    throw Error(ErrorCode::failure,
                "rank " + std::to_string(environment_.rank) + " cannot meet the others at " +
                    environment_.master + ":" + std::to_string(environment_.port) +
                    " (MASTER_ADDR, MASTER_PORT): " + reason.substr(0, reason.find('\n')));
  }
}

void Ranks::sum(torch::Tensor& tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{tensor};
  group_->finish("a sum", [&] { return group_->backend->allreduce(list); });
}

void Ranks::maximum(torch::Tensor& tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{tensor};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MAX;
  group_->finish("a maximum", [&] { return group_->backend->allreduce(list, options); });
}

void Ranks::broadcast(torch::Tensor& tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{tensor};
  group_->finish("a broadcast", [&] { return group_->backend->broadcast(list); });
}

void Ranks::barrier() {
  if (!group_) return;
  torch::Tensor one = torch::zeros({1}, device_);
  sum(one);
}

torch::Tensor Ranks::gather_views(const torch::Tensor& local) {
  if (!group_) return local;
  std::vector<torch::Tensor> mine{local.contiguous()};
  std::vector<std::vector<torch::Tensor>> all(1);
  for (int r = 0; r < environment_.ranks; ++r) all[0].push_back(torch::empty_like(mine[0]));
  group_->finish("a gathering of embeddings",
                 [&] { return group_->backend->allgather(all, mine); });
  std::vector<torch::Tensor> parts;
  for (const std::int64_t view : {0, 1})
    for (const torch::Tensor& part : all[0]) parts.push_back(part.chunk(2, 0)[static_cast<std::size_t>(view)]);
  return torch::cat(parts, 0);
}

#else

struct Ranks::Group {};

Ranks::Ranks(const RankEnvironment& environment, const torch::Device& device, double)
    : environment_(environment), device_(device) {
  if (environment_.ranks > 1)
    throw Error(ErrorCode::usage,
                "this build has neither Gloo nor NCCL: install libgloo-dev and build again, or run "
                "one process");
}
void Ranks::sum(torch::Tensor&) {}
void Ranks::maximum(torch::Tensor&) {}
void Ranks::broadcast(torch::Tensor&) {}
void Ranks::barrier() {}
torch::Tensor Ranks::gather_views(const torch::Tensor& local) { return local; }

#endif

Ranks::~Ranks() = default;

torch::Tensor Ranks::own_views(const torch::Tensor& global) const {
  if (!group_) return global;
  const std::int64_t n = global.size(0) / 2, m = n / environment_.ranks;
  const std::int64_t at = environment_.rank * m;
  return torch::cat({global.narrow(0, at, m), global.narrow(0, n + at, m)}, 0);
}

}  // namespace wsp::train
