#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/eval/plan.hpp"

/// From the cells of a plan to the paper's tables.
namespace wsp::train {

/// A picture of the results page.
struct Picture {
  std::string path, caption;  ///< path from results.html
  std::string svg;            ///< what is to be written there; empty: it is there already
  bool folded = false;        ///< shown when asked for
};

/// A table of words, as every format shows it.
struct ResultTable {
  std::string name, title;  ///< "auc"; "Table 1: ..."
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> notes;
  std::vector<std::string> verdicts =
      {};  ///< what can be concluded and what cannot: above the table
  std::map<std::size_t, std::string> under_header =
      {};                              ///< column -> small words under it, in HTML
  std::vector<Picture> pictures = {};  ///< below the table, in HTML
};

/// Tables of the cells that are there; `cells` as experiment.hpp wrote them. A cell that is missing
/// shows as a dash, and a note counts them. Values are means (sd) over the folds of all seeds, as
/// the paper prints them, with 95 % intervals over subjects; differences to WSP are paired by
/// subject.
std::vector<ResultTable> make_tables(const Plan& plan, const std::vector<nlohmann::json>& cells);

/// How far to trust Table 1, of every method, backbone and dataset: permutation test, AUC of
/// shuffled diagnoses, calibration, shortcuts; means over seeds (p: median).
ResultTable checks_table(const Plan& plan, const std::vector<nlohmann::json>& cells);

/// How every encoder does within subgroups of one evaluation, an encoder a row: means over seeds,
/// and the widest gap between two subgroups of one column. Without rows where no cell has any.
ResultTable subgroups_table(const Plan& plan, const std::vector<nlohmann::json>& cells,
                            const std::string& evaluation);

std::string to_tsv(const ResultTable& table);
std::string to_markdown(const std::vector<ResultTable>& tables, const std::string& title);
std::string to_html(const std::vector<ResultTable>& tables, const std::string& title);
nlohmann::json to_json(const std::vector<ResultTable>& tables);
/// Write TABLE.tsv of each, its pictures, results.md, results.json and results.html.
void write_tables(const std::filesystem::path& out, const Plan& plan,
                  const std::vector<ResultTable>& tables);

}  // namespace wsp::train
