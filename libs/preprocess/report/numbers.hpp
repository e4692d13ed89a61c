#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

/// Small statistics that several parts of the report share.
namespace wsp::qa {

/// What was not measured: null in JSON, an empty cell in tables, left out of every summary and
/// test.
inline constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();
/// Round to `digits` decimals, so that files hold what was measured and no more; kUnset stays it.
double rounded(double value, int digits);
/// Sixteen hexadecimal digits.
std::string hex_word(std::uint64_t word);

/// Mean, standard deviation (n - 1) and quantiles of the measured values; kUnset where there is
/// none.
struct Summary {
  std::size_t n = 0;
  double mean = kUnset, sd = kUnset, minimum = kUnset, p05 = kUnset, p25 = kUnset, median = kUnset,
         p75 = kUnset, p95 = kUnset, maximum = kUnset;
};
Summary summarise(std::vector<double> values);
/// Linear interpolation between order statistics (Hyndman and Fan's type 7); 0 of nothing.
double quantile(const std::vector<double>& sorted, double p);

/// Two-sample Kolmogorov-Smirnov: the statistic, and its asymptotic p-value (Smirnov's series with
/// Stephens' small-sample correction). Values that were not measured are left out; p is 1 where a
/// side has none.
struct Test {
  double statistic = 0, p = 1;
};
Test kolmogorov_smirnov(std::vector<double> a, std::vector<double> b);
/// Pearson's chi-squared of homogeneity of two rows of counts; columns empty in both are dropped.
Test chi_squared(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace wsp::qa
