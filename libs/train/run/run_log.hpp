#pragma once
#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "train/run/metrics.hpp"

namespace wsp::train {

/// What a run says of itself while it runs: metrics.jsonl and TensorBoard's files. A resumed run
/// drops what an interrupted one had written past its checkpoint.
class RunLog {
 public:
  using Fields = std::vector<std::pair<std::string, MetricValue>>;
  /// `step`: batches done already by the run that is resumed.
  RunLog(const std::filesystem::path& run, bool tensorboard, bool resumed, std::int64_t step);
  ~RunLog();
  /// One line of metrics.jsonl with "step" and "kind" added; its numbers are TensorBoard scalars
  /// "kind/name".
  void add(const std::string& kind, std::int64_t step, const Fields& fields);
  /// The first slices of a batch, each with two pictures of it side by side. hu: [n, s, s]; views:
  /// [2n, 1, s, s].
  void add_views(std::int64_t step, const torch::Tensor& hu, const torch::Tensor& views,
                 const std::string& tag = "slice, view 1, view 2");
  /// Embeddings for the projector, [n, dim], with one line of labels each.
  void set_projection(const torch::Tensor& points, const std::vector<std::string>& columns,
                      const std::vector<std::vector<std::string>>& rows);
  /// For TensorBoard's page of texts.
  void text(const std::string& tag, const std::string& markdown);
  /// Make durable what was added; before a checkpoint is written.
  void flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Grey 8-bit sheet of the first `count` slices and their views, one row a slice: [count * s][3 *
/// s].
torch::Tensor view_sheet(const torch::Tensor& hu, const torch::Tensor& views, std::int64_t count);

}  // namespace wsp::train
