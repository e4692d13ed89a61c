#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Small statistics that several parts of the report share.
namespace wsp::qa {

/// Round to `digits` decimals, so that files hold what was measured and no more.
double rounded(double value, int digits);
/// Sixteen hexadecimal digits.
std::string hex_word(std::uint64_t word);

/// Mean, standard deviation (n - 1) and quantiles; zeros where there is no value.
struct Summary {
  std::size_t n = 0;
  double mean = 0, sd = 0, minimum = 0, p05 = 0, p25 = 0, median = 0, p75 = 0, p95 = 0, maximum = 0;
};
Summary summarise(std::vector<double> values);
/// Linear interpolation between order statistics (Hyndman and Fan's type 7); 0 of nothing.
double quantile(const std::vector<double>& sorted, double p);

/// Two-sample Kolmogorov-Smirnov: the statistic, and its asymptotic p-value (Smirnov's series with
/// Stephens' small-sample correction).
struct Test {
  double statistic = 0, p = 1;
};
Test kolmogorov_smirnov(std::vector<double> a, std::vector<double> b);
/// Pearson's chi-squared of homogeneity of two rows of counts; columns empty in both are dropped.
Test chi_squared(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace wsp::qa
