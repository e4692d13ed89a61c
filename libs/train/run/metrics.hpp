#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "train/run/append_file.hpp"

namespace wsp::train {

/// A value of a line of metrics.jsonl; a double that is no number becomes null.
using MetricValue = std::variant<double, std::int64_t, std::string>;

/// Writes metrics.jsonl: one JSON object a line, "step" first, then the fields in the order given;
/// a double has the shortest decimal form that reads back as the same double. Lines are whole or
/// absent, and stand in the file when write() returns. Not thread-safe.
///
/// A resumed run continues at the checkpoint's step: what the interrupted run wrote later goes, and
/// the file becomes what an uninterrupted run writes (but for fields that hold times). That takes
/// the lines of a step to be written, and sync() called, before the checkpoint of that step.
class MetricsWriter {
 public:
  /// Start a file (no `resume_after`; one that exists is an Error(output)), or continue one: lines
  /// of steps above `resume_after` and a torn end are cut off. Throws Error(corrupt) where a line
  /// up to that step stands behind one that has to go.
  explicit MetricsWriter(const std::filesystem::path& path,
                         std::optional<std::int64_t> resume_after = std::nullopt);
  /// Append a line. Steps must not decrease (Error(failure)). Throws Error(output).
  void write(std::int64_t step, const std::vector<std::pair<std::string, MetricValue>>& fields);
  /// Make all lines durable. Throws Error(output).
  void sync();
  void close();

 private:
  AppendFile file_;
  std::int64_t last_step_;
};

}  // namespace wsp::train
