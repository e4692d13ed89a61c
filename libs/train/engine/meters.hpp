#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <limits>
#include <vector>

namespace wsp::train {

/// Weighted mean of everything since reset(). As add(waited_s / step_s, step_s) it is the share of
/// the time spent waiting.
class MeanMeter {
 public:
  void add(double value, double weight = 1) {
    sum_ += value * weight;
    weight_ += weight;
  }
  /// Not a number before the first add().
  [[nodiscard]] double mean() const { return sum_ / weight_; }
  [[nodiscard]] bool empty() const { return weight_ == 0; }
  void reset() { *this = MeanMeter(); }

 private:
  double sum_ = 0, weight_ = 0;
};

/// Mean and median of the last `window` values.
class WindowMeter {
 public:
  explicit WindowMeter(std::size_t window) : window_(std::max<std::size_t>(window, 1)) {}
  void add(double value) {
    values_.push_back(value);
    if (values_.size() > window_) values_.pop_front();
  }
  /// Not a number before the first add(), as are the others.
  [[nodiscard]] double last() const { return values_.empty() ? kNone : values_.back(); }
  [[nodiscard]] double mean() const {
    double sum = 0;
    for (const double value : values_) sum += value;
    return values_.empty() ? kNone : sum / static_cast<double>(values_.size());
  }
  /// Of an even number of values the mean of the middle two.
  [[nodiscard]] double median() const {
    if (values_.empty()) return kNone;
    std::vector<double> sorted(values_.begin(), values_.end());
    std::sort(sorted.begin(), sorted.end());
    const std::size_t half = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::size_t window_;
  std::deque<double> values_;
};

/// Units per second over the last `window_s` seconds, from its construction on.
class RateMeter {
 public:
  using Clock = std::chrono::steady_clock;
  explicit RateMeter(double window_s = 30, Clock::time_point start = Clock::now())
      : window_s_(window_s), marks_{{start, 0}} {}
  /// Count `units` as done at `now`; times must not decrease.
  void add(double units, Clock::time_point now = Clock::now()) {
    total_ += units;
    marks_.push_back({now, total_});
    // The mark just before the window stays: it is where the window's first units were begun.
    while (marks_.size() > 2 && seconds(marks_[1].time, now) >= window_s_) marks_.pop_front();
  }
  /// 0 before the first add(). Falls while nothing is added.
  [[nodiscard]] double per_second(Clock::time_point now = Clock::now()) const {
    const double span = seconds(marks_.front().time, now);
    return span > 0 ? (total_ - marks_.front().total) / span : 0;
  }
  /// All units ever counted.
  [[nodiscard]] double total() const { return total_; }

 private:
  struct Mark {
    Clock::time_point time;
    double total;
  };
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }
  double window_s_;
  double total_ = 0;
  std::deque<Mark> marks_;
};

}  // namespace wsp::train
