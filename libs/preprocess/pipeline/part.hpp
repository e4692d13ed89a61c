#pragma once
#include <string>
#include <string_view>

namespace wsp {

/// One of several parts of an export that are made apart, by processes or machines that share
/// nothing, and joined by merge_parts(). All that belongs to a subject falls to one part.
struct Part {
  int number = 1;  ///< from 1
  int of = 1;
  [[nodiscard]] bool whole() const { return of == 1; }
  /// True where the subject (its pseudonym) falls to this part: by a hash of the subject alone, so
  /// that it stays when the export grows.
  [[nodiscard]] bool has(std::string_view subject) const;
  /// "2/4"; empty for the whole.
  [[nodiscard]] std::string text() const;
};

/// "2/4", or "slurm": the task of a Slurm job array (SLURM_ARRAY_TASK_ID, _MIN, _MAX, _COUNT).
/// Throws Error(usage) for anything else, and outside an array of tasks that follow each other.
Part parse_part(const std::string& text);

}  // namespace wsp
