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
  if (const auto hd95 = found->find("hd95_mm"); hd95 != found->end() && hd95->is_number())
    row.hd95_mm = hd95->get<double>();
  row.first_off = found->value("first_off", std::int64_t{0});
  row.last_off = found->value("last_off", std::int64_t{0});
  row.first_off_mm = found->value("first_off_mm", 0.0);
  row.last_off_mm = found->value("last_off_mm", 0.0);
  row.kept_iou = found->value("kept_iou", 0.0);
  for (const auto& doubt : found->value("doubts", nlohmann::json::array()))
    row.doubts += (row.doubts.empty() ? "" : ",") + doubt.get<std::string>();
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
  std::string text =
      "case\tgiven\tdice\tgiven_ml\tmodel_ml\tvolume_error_percent\thd95_mm\tfirst_off\tlast_off\t"
      "first_off_mm\tlast_off_mm\tkept_iou\tdoubts\tcode\n";
  for (const MaskComparisonRow& row : rows) {
    text += row.case_name + '\t' + row.source;
    if (row.code.empty())
      text += fmt::format(
          "\t{:.4f}\t{:.1f}\t{:.1f}\t{:+.1f}\t{}\t{:+}\t{:+}\t{:+.1f}\t{:+.1f}\t{:.4f}\t{}\t\n",
          row.dice, row.given_ml, row.model_ml,
          row.given_ml > 0 ? 100 * (row.model_ml - row.given_ml) / row.given_ml : 0.0,
          row.hd95_mm ? fmt::format("{:.2f}", *row.hd95_mm) : "", row.first_off, row.last_off,
          row.first_off_mm, row.last_off_mm, row.kept_iou, row.doubts);
    else
      text += std::string(12, '\t') + row.code + '\n';
  }
  return text;
}

nlohmann::json to_json(const std::vector<MaskComparisonRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const MaskComparisonRow& row : rows) {
    nlohmann::json entry{{"case", row.case_name}, {"source", row.source}};
    if (row.code.empty())
      entry.update({{"dice", row.dice},
                    {"given_ml", row.given_ml},
                    {"model_ml", row.model_ml},
                    {"hd95_mm", row.hd95_mm ? nlohmann::json(*row.hd95_mm) : nlohmann::json()},
                    {"first_off", row.first_off},
                    {"last_off", row.last_off},
                    {"first_off_mm", row.first_off_mm},
                    {"last_off_mm", row.last_off_mm},
                    {"kept_iou", row.kept_iou},
                    {"doubts", row.doubts}});
    else
      entry["code"] = row.code;
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace wsp
