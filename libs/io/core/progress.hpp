#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace wsp {

/// A progress bar on stderr with rate and time left; silent when stderr is no terminal.
/// advance() may be called from any thread.
class Progress {
 public:
  /// `done` of `total` units stand already (a resumed job); they do not count towards the rate.
  Progress(std::string what, std::uint64_t total, std::string unit, std::uint64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(std::uint64_t n = 1);
  /// A few words that follow the bar, e.g. "loss 2.31". One thread at a time.
  void note(std::string words);
  /// Draw the last state and end the line; called by the destructor too.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wsp
