#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/eval/plan.hpp"

/// From the cells of a plan to the paper's tables.
namespace wsp::train {

/// A table of words, as every format shows it.
struct ResultTable {
  std::string name, title;        ///< "auc"; "Table 1: ..."
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> notes;
  /// Shown below the table in HTML: path from results.html, and what it shows.
  std::vector<std::pair<std::string, std::string>> pictures = {};
};

/// Tables of the cells that are there; `cells` as experiment.hpp wrote them. A cell that is missing shows as a
/// dash, and a note counts them. Values are means (sd) over the folds of all seeds, as the paper prints
/// them, with 95 % intervals over subjects; differences to WSP are paired by subject.
std::vector<ResultTable> make_tables(const Plan& plan, const std::vector<nlohmann::json>& cells);

/// How far to trust Table 1, of every method, backbone and dataset: permutation test, AUC of shuffled diagnoses,
/// calibration, shortcuts; means over seeds (p: median).
ResultTable checks_table(const Plan& plan, const std::vector<nlohmann::json>& cells);

std::string to_tsv(const ResultTable& table);
std::string to_markdown(const std::vector<ResultTable>& tables, const std::string& title);
std::string to_html(const std::vector<ResultTable>& tables, const std::string& title);
nlohmann::json to_json(const std::vector<ResultTable>& tables);
/// Write TABLE.tsv of each, results.md, results.json and results.html.
void write_tables(const std::filesystem::path& out, const Plan& plan, const std::vector<ResultTable>& tables);

}  // namespace wsp::train
