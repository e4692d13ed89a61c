#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wsp {

/// Name the class of a failure that stops the job; each maps to one exit code (see exit_code()).
enum class ErrorCode { failure, usage, no_input, output, corrupt, interrupted };

/// Return the process exit code for an error: 1, 2, 4, 5, 6 or 130.
int exit_code(ErrorCode code);

/// The one exception of the toolkit: stops the job. The message says what was expected, what was
/// found and what to do; context lines are added on the way up, innermost first.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);
  [[nodiscard]] ErrorCode code() const { return code_; }
  const char* what() const noexcept override { return text_.c_str(); }
  /// Add a line such as "while writing shard 3"; returns *this so that `throw e.within(...)` reads.
  Error& within(std::string_view context);

 private:
  ErrorCode code_;
  std::string text_;
};

}  // namespace wsp
