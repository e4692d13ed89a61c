#include "preprocess/pipeline/comparison.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace wsp {

std::optional<MaskComparisonRow> comparison_of(const nlohmann::json& provenance) {
  const auto& mask = provenance.at("mask");
  const auto found = mask.find("comparison");
  if (found == mask.end()) return std::nullopt;
  MaskComparisonRow row;
  row.case_name = provenance.at("name");
  row.source = mask.at("source");
  row.code = found->value("code", "");
  row.dice = found->value("dice", 0.0);
  row.given_ml = found->value("given_ml", 0.0);
  row.model_ml = found->value("model_ml", 0.0);
  return row;
}

std::optional<double> mean_dice(const std::vector<MaskComparisonRow>& rows) {
  double sum = 0;
  int count = 0;
  for (const MaskComparisonRow& row : rows) {
    if (!row.code.empty()) continue;
    sum += row.dice;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

std::string comparison_text(const std::vector<MaskComparisonRow>& rows) {
  std::string text = "case\tgiven\tdice\tgiven_ml\tmodel_ml\tvolume_error_percent\tcode\n";
  for (const MaskComparisonRow& row : rows) {
    text += row.case_name + '\t' + row.source;
    if (row.code.empty())
      text +=
          fmt::format("\t{:.4f}\t{:.1f}\t{:.1f}\t{:+.1f}\t\n", row.dice, row.given_ml, row.model_ml,
                      row.given_ml > 0 ? 100 * (row.model_ml - row.given_ml) / row.given_ml : 0.0);
    else
      text += "\t\t\t\t\t" + row.code + '\n';
  }
  return text;
}

nlohmann::json to_json(const std::vector<MaskComparisonRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const MaskComparisonRow& row : rows) {
    nlohmann::json entry{{"case", row.case_name}, {"source", row.source}};
    if (row.code.empty())
      entry.update({{"dice", row.dice}, {"given_ml", row.given_ml}, {"model_ml", row.model_ml}});
    else
      entry["code"] = row.code;
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace wsp
