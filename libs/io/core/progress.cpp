#include "io/core/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>

#include "io/core/log.hpp"

namespace wsp {
namespace {

std::size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string time_text(double seconds) {
  const auto s = static_cast<std::uint64_t>(seconds);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string rate_text(double per_second) {
  return per_second <= 0    ? ""
         : per_second < 0.1 ? fmt::format("  {:.1f}/h", per_second * 3600)
                            : fmt::format("  {:.1f}/s", per_second);
}

std::string left_text(const ProgressState& s) {
  if (s.per_second <= 0 || s.done >= s.total) return "";
  return fmt::format("  {} left", time_text(static_cast<double>(s.total - s.done) / s.per_second));
}

std::string count_text(const ProgressState& s) {
  return fmt::format("{}/{} {}", s.done, s.total, s.unit);
}

}  // namespace

std::string progress_line(const ProgressState& s, std::size_t columns) {
  constexpr std::size_t kLongest = 30, kShortest = 5;
  std::string tail = count_text(s);
  // Parts of the end, the most needed first, while they fit beside the name.
  for (const std::string& part : {rate_text(s.per_second), left_text(s)})
    if (s.what.size() + 1 + tail.size() + part.size() <= columns) tail += part;
  const std::size_t used = s.what.size() + 1 + tail.size();
  std::string bar;
  if (used + kShortest + 3 <= columns) {
    const std::size_t length = std::min(kLongest, columns - used - 3);
    const double share =
        s.total > 0 ? static_cast<double>(s.done) / static_cast<double>(s.total) : 1;
    bar.assign(std::min(length, static_cast<std::size_t>(share * static_cast<double>(length))),
               '#');
    bar.resize(length, '.');
    bar = "[" + bar + "] ";
  }
  std::string line = s.what + " " + bar + tail;
  if (!s.words.empty() && line.size() + 2 + s.words.size() <= columns) line += "  " + s.words;
  return line.substr(0, columns);
}

struct Progress::State {
  using Clock = std::chrono::steady_clock;
  ProgressState shown;
  std::uint64_t before = 0;
  std::atomic<std::uint64_t> done{0};
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  std::chrono::milliseconds every;
  Clock::time_point start = Clock::now(), last = start;
  std::mutex drawing;
  bool said = false, finished = false;

  void draw(bool end) {
    std::unique_lock lock(drawing, std::defer_lock);
    if (end)
      lock.lock();
    else if (!lock.try_lock())
      return;
    const auto now = Clock::now();
    if (!end && now - last < every) return;
    if (!terminal && end && !said) return;  // it was short
    last = now;
    const double seconds = std::chrono::duration<double>(now - start).count();
    shown.done = done.load();
    shown.per_second = seconds > 0 ? static_cast<double>(shown.done - before) / seconds : 0;
    if (!terminal) {
      said = true;
      log::info(fmt::format("{}: {}{}{}{}", shown.what, count_text(shown),
                            rate_text(shown.per_second),
                            end ? "  in " + time_text(seconds) : left_text(shown),
                            shown.words.empty() ? "" : "  " + shown.words));
      return;
    }
    // A terminal's last column is left free: some break the line behind it.
    std::fprintf(stderr, "\r%s\x1b[K", progress_line(shown, terminal_columns() - 1).c_str());
    std::fflush(stderr);
  }
};

Progress::Progress(std::string what, std::uint64_t total, std::string unit, std::uint64_t done,
                   std::chrono::milliseconds every)
    : state_(std::make_unique<State>()) {
  state_->shown = {std::move(what), std::move(unit), "", done, total, 0};
  state_->before = done;
  state_->done = done;
  state_->every = state_->terminal ? std::chrono::milliseconds(100) : every;
}
Progress::~Progress() { finish(); }

void Progress::advance(std::uint64_t n) {
  state_->done += n;
  state_->draw(false);
}

void Progress::note(std::string words) {
  const std::lock_guard lock(state_->drawing);
  state_->shown.words = std::move(words);
}

void Progress::finish() {
  if (state_->finished) return;
  state_->finished = true;
  state_->draw(true);
  if (state_->terminal) std::fputc('\n', stderr);
}

}  // namespace wsp
