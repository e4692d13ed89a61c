#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace wsp {

/// A progress bar on stderr with rate and time left; silent when stderr is no terminal.
/// advance() may be called from any thread.
class Progress {
 public:
  Progress(std::string what, std::uint64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(std::uint64_t n = 1);
  /// Draw the last state and end the line; called by the destructor too.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wsp
