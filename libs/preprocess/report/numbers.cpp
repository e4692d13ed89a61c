#include "preprocess/report/numbers.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace wsp::qa {
namespace {

// Upper regularised incomplete gamma function Q(a, x): series below a + 1, continued fraction
// (modified Lentz) above.
double gamma_q(double a, double x) {
  if (x <= 0) return 1;
  const double scale = std::exp(-x + a * std::log(x) - std::lgamma(a));
  constexpr double kEnough = 1e-15;
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (double n = a + 1; std::abs(term) > std::abs(sum) * kEnough; ++n) sum += term *= x / n;
    return 1 - scale * sum;
  }
  constexpr double kTiny = 1e-300;
  double b = x + 1 - a, c = 1 / kTiny, d = 1 / b, h = d;
  for (int i = 1; i < 10000; ++i) {
    const double an = -i * (i - a);
    b += 2;
    d = an * d + b;
    if (std::abs(d) < kTiny) d = kTiny;
    c = b + an / c;
    if (std::abs(c) < kTiny) c = kTiny;
    d = 1 / d;
    const double step = d * c;
    h *= step;
    if (std::abs(step - 1) < kEnough) break;
  }
  return scale * h;
}

}  // namespace

double rounded(double value, int digits) {
  if (!std::isfinite(value)) return kUnset;
  const double unit = std::pow(10.0, digits);
  const double result = std::round(value * unit) / unit;
  return result == 0 ? 0 : result;  // no negative zero
}

std::string hex_word(std::uint64_t word) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(word));
  return text;
}

double quantile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

Summary summarise(std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  Summary s;
  s.n = values.size();
  if (values.empty()) return s;
  std::sort(values.begin(), values.end());
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(s.n);
  s.sd = 0;
  for (const double v : values) s.sd += (v - s.mean) * (v - s.mean);
  s.sd = s.n > 1 ? std::sqrt(s.sd / static_cast<double>(s.n - 1)) : 0;
  s.minimum = values.front();
  s.p05 = quantile(values, 0.05);
  s.p25 = quantile(values, 0.25);
  s.median = quantile(values, 0.5);
  s.p75 = quantile(values, 0.75);
  s.p95 = quantile(values, 0.95);
  s.maximum = values.back();
  return s;
}

Test kolmogorov_smirnov(std::vector<double> a, std::vector<double> b) {
  for (auto* values : {&a, &b}) std::erase_if(*values, [](double v) { return !std::isfinite(v); });
  if (a.empty() || b.empty()) return {};
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  Test test;
  std::size_t i = 0, j = 0;
  const auto na = static_cast<double>(a.size()), nb = static_cast<double>(b.size());
  while (i < a.size() && j < b.size()) {
    const double at = std::min(a[i], b[j]);
    while (i < a.size() && a[i] <= at) ++i;
    while (j < b.size() && b[j] <= at) ++j;
    test.statistic = std::max(test.statistic,
                              std::abs(static_cast<double>(i) / na - static_cast<double>(j) / nb));
  }
  const double root = std::sqrt(na * nb / (na + nb));
  const double x = (root + 0.12 + 0.11 / root) * test.statistic;
  if (x < 0.2) return test;  // the series needs many terms there, and is 1
  test.p = 0;
  for (int k = 1; k <= 100; ++k) test.p += (k % 2 == 1 ? 2 : -2) * std::exp(-2.0 * k * k * x * x);
  test.p = std::clamp(test.p, 0.0, 1.0);
  return test;
}

Test chi_squared(const std::vector<double>& a, const std::vector<double>& b) {
  const double na = std::accumulate(a.begin(), a.end(), 0.0);
  const double nb = std::accumulate(b.begin(), b.end(), 0.0);
  Test test;
  int columns = 0;
  if (na == 0 || nb == 0) return test;
  for (std::size_t c = 0; c < std::max(a.size(), b.size()); ++c) {
    const double x = c < a.size() ? a[c] : 0, y = c < b.size() ? b[c] : 0;
    if (x + y == 0) continue;
    ++columns;
    const double ea = (x + y) * na / (na + nb), eb = (x + y) * nb / (na + nb);
    test.statistic += (x - ea) * (x - ea) / ea + (y - eb) * (y - eb) / eb;
  }
  if (columns > 1) test.p = gamma_q((columns - 1) / 2.0, test.statistic / 2);
  return test;
}

}  // namespace wsp::qa
