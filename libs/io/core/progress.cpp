#include "io/core/progress.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>

namespace wsp {

struct Progress::State {
  using Clock = std::chrono::steady_clock;
  std::string what;
  std::uint64_t total;
  std::string unit;
  bool terminal = ::isatty(STDERR_FILENO) == 1;
  Clock::time_point start = Clock::now();
  std::uint64_t before = 0;
  std::atomic<std::uint64_t> done{0};
  std::string words;
  std::mutex drawing;
  Clock::time_point last{};
  bool finished = false;

  void draw(bool force) {
    if (!terminal) return;
    const std::unique_lock lock(drawing, std::try_to_lock);
    if (!lock) return;
    const auto now = Clock::now();
    if (!force && now - last < std::chrono::milliseconds(100)) return;
    last = now;
    const double seconds = std::chrono::duration<double>(now - start).count();
    const auto count = done.load();
    const double rate = seconds > 0 ? static_cast<double>(count - before) / seconds : 0;
    const double fraction = total > 0 ? static_cast<double>(count) / static_cast<double>(total) : 1;
    constexpr int kWidth = 30;
    const int filled = static_cast<int>(fraction * kWidth);
    std::string bar(static_cast<std::size_t>(filled > kWidth ? kWidth : filled), '#');
    bar.resize(kWidth, '.');
    const double left = rate > 0 && count < total ? static_cast<double>(total - count) / rate : 0;
    std::fprintf(stderr, "\r%s [%s] %llu/%llu %s  %.1f/s  %d:%02d left  %s\x1b[K", what.c_str(),
                 bar.c_str(), static_cast<unsigned long long>(count),
                 static_cast<unsigned long long>(total), unit.c_str(), rate,
                 static_cast<int>(left) / 60, static_cast<int>(left) % 60, words.c_str());
    std::fflush(stderr);
  }
};

Progress::Progress(std::string what, std::uint64_t total, std::string unit, std::uint64_t done)
    : state_(std::make_unique<State>()) {
  state_->what = std::move(what);
  state_->total = total;
  state_->unit = std::move(unit);
  state_->before = done;
  state_->done = done;
}
Progress::~Progress() { finish(); }

void Progress::advance(std::uint64_t n) {
  state_->done += n;
  state_->draw(false);
}

void Progress::note(std::string words) {
  const std::lock_guard lock(state_->drawing);
  state_->words = std::move(words);
}

void Progress::finish() {
  if (state_->finished) return;
  state_->finished = true;
  state_->draw(true);
  if (state_->terminal) std::fputc('\n', stderr);
}

}  // namespace wsp
