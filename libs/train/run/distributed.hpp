#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "train/run/rank_environment.hpp"

namespace wsp::train {

/// Collective operations over the ranks: NCCL on CUDA, Gloo on the CPU; nothing with one rank. A
/// rank that fails or falls silent makes the others throw Error(failure) within the timeout, never
/// hang; so does a place of meeting where something else listens. What is begun and joined costs
/// the host no wait on a card; every other operation is done when it returns.
class Ranks {
 public:
  Ranks(const RankEnvironment& environment, const torch::Device& device, double timeout_s);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  [[nodiscard]] int rank() const { return environment_.rank; }
  [[nodiscard]] int ranks() const { return environment_.ranks; }
  [[nodiscard]] bool first() const { return environment_.rank == 0; }
  /// Sum over the ranks, in place.
  void sum(torch::Tensor& tensor);
  /// Largest value over the ranks, in place.
  void maximum(torch::Tensor& tensor);
  /// Begin a sum or a maximum over the ranks, in place, of a tensor that nothing touches until
  /// join(). Any thread may, a backward pass's too, one at a time and on every rank in one order.
  void begin_sum(torch::Tensor tensor);
  void begin_maximum(torch::Tensor tensor);
  /// Let what was begun come before what the device's stream is given from here on; on the CPU wait
  /// for it.
  void join();
  /// Collectives that were joined so far.
  [[nodiscard]] std::int64_t joined() const;
  /// Wait on the host, no longer than the timeout, until the first `count` of those are done:
  /// before it reads what follows from them.
  void settle(std::int64_t count);
  /// Copy one rank's tensor to all, in place.
  void broadcast(torch::Tensor& tensor, int from = 0);
  /// Run `work` on rank 0 while the others wait, as long as it takes: rank 0 says meanwhile that it
  /// lives. What it throws it throws on rank 0; the others then throw an Error of the same code.
  void first_alone(const std::function<void()>& work);
  /// Concatenate [2m, ...] tensors (two views of m slices) of all ranks to [2 * m * ranks, ...],
  /// again view 1 of all slices, then view 2; equal shapes on every rank. Joined.
  [[nodiscard]] torch::Tensor gather_views(const torch::Tensor& local);
  /// The rows of this rank in what gather_views() gives, as [2m, ...].
  [[nodiscard]] torch::Tensor own_views(const torch::Tensor& global) const;
  /// Wait for all.
  void barrier();

 private:
  struct Group;
  RankEnvironment environment_;
  torch::Device device_;
  std::unique_ptr<Group> group_;
};

}  // namespace wsp::train
