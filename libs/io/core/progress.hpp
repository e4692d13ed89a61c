#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace wsp {

/// How far a job is, on stderr: on a terminal a bar with rate and time left that fits its width and
/// follows it, elsewhere (a Slurm log) a line of log at level info every 30 s, the first after 30
/// s. advance() may be called from any thread.
class Progress {
 public:
  /// `done` of `total` units stand already (a resumed job); they do not count towards the rate.
  Progress(std::string what, std::uint64_t total, std::string unit, std::uint64_t done = 0,
           std::chrono::milliseconds every = std::chrono::seconds(30));
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

/// What a progress bar shows.
struct ProgressState {
  std::string what, unit, words;
  std::uint64_t done = 0, total = 0;
  double per_second = 0;  ///< 0: not known yet
};
/// "ingest [####....] 12/40 cases  1.3/s  0:21 left  WORDS" in at most `columns` characters: what
/// does not fit goes in this order: words, length of the bar, the bar, time left, rate, the rest of
/// the line.
std::string progress_line(const ProgressState& state, std::size_t columns);

}  // namespace wsp
