#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

/// How a training run is carried out. No Torch stands here, so that tools need none.
namespace wsp::train {

/// What may differ between a run and its resumption without changing what is computed.
struct RunOptions {
  std::filesystem::path dataset, out;
  std::filesystem::path init;     ///< encoder weights to start from
  std::filesystem::path exclude;  ///< ratings of wsp-qa's page: gives TrainConfig::exclude
  bool resume = false, force = false;
  bool may_extend = false;      ///< resume also to a later end than the run was made for
  std::string device = "auto";  ///< auto, cpu, cuda or cuda:N
  int threads = 1;
  int workers = 0, ring = 4;            ///< workers 0: one on the CPU, all cores on CUDA
  std::string cache = "none";           ///< none, ram or device (on the CPU: ram)
  std::uint64_t cache_limit_bytes = 0;  ///< 0: half of the memory that is free there
  bool verify = true;                   ///< check every hash of the dataset before training
  std::int64_t log_every = 10;          ///< steps
  std::int64_t checkpoint_every = 0;    ///< steps; 0: at the end of each epoch
  std::int64_t keep = 2;                ///< newest checkpoints kept, beside the best
  std::int64_t probe_every = 1;         ///< epochs; 0: never
  std::string probe_label;              ///< label column of the probe; empty: the weak label
  std::int64_t patience = 0;            ///< epochs without a better probe before stopping; 0: never
  bool tensorboard = true;
  std::string cuda_graph =
      "off";               ///< off or on: forward, loss and backward of a step as one CUDA graph
  double timeout_s = 600;  ///< of a rank or a batch
  bool read_late = false;  ///< read a step's numbers with the next step; on CUDA always so
  std::string command;     ///< as typed, for run.json
};

}  // namespace wsp::train
