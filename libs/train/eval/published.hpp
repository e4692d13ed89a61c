#pragma once
#include <optional>
#include <string>

namespace wsp::train {

/// A value that the paper prints: mean (sd) over folds.
struct PublishedValue {
  double mean = 0, sd = 0;
  [[nodiscard]] std::string text() const;  ///< "0.84 (0.12)"
};
/// Sarfati et al., MICCAI 2023, table 1: AUC. evaluation: D1, D2 or D1+2.
std::optional<PublishedValue> published_auc(const std::string& backbone, const std::string& method,
                                            const std::string& evaluation);
/// Table 2: balanced accuracy on D1, the only dataset it has, of the better backbone; method
/// "readers" is the radiologists'.
std::optional<PublishedValue> published_balanced_accuracy(const std::string& method,
                                                          const std::string& evaluation);
/// AUC of WSP by sigma; the paper has it of TinyNet alone.
std::optional<PublishedValue> published_sigma(const std::string& backbone, double sigma,
                                              const std::string& evaluation);

}  // namespace wsp::train
