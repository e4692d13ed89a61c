#include "train/eval/left_out.hpp"

#include <set>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/manifest/ratings.hpp"

namespace wsp::train {
namespace {

// The members of a column that stay: those of kept rows, of `width` values each.
template <class T>
void keep(std::vector<T>& column, const std::vector<bool>& kept, std::size_t width = 1) {
  if (column.empty()) return;
  std::size_t to = 0;
  for (std::size_t i = 0; i < kept.size(); ++i)
    for (std::size_t k = 0; kept[i] && k < width; ++k, ++to)
      if (to != i * width + k) column[to] = std::move(column[i * width + k]);
  column.resize(to);
}

}  // namespace

void leave_out_rated(FeatureTable& t, const std::filesystem::path& ratings,
                     std::string_view option) {
  if (ratings.empty()) return;
  std::set<std::string> here, gone;
  for (const FeatureCase& c : t.cases) here.insert(c.name);
  for (const auto& [name, why] : t.left_out) gone.insert(name);
  const auto names = cases_to_leave_out(ratings, here, gone, option);
  if (names.empty()) return;
  if (names.size() == here.size())
    throw Error(ErrorCode::usage, std::string(option) + " " + ratings.string() +
                                      " rates every case as one to leave out");
  for (const std::string& name : names) t.left_out[name] = kLeftOutRated;
  std::vector<bool> case_stays, row_stays;
  std::vector<std::int32_t> number(t.cases.size());
  std::int32_t next = 0;
  for (std::size_t c = 0; c < t.cases.size(); ++c) {
    case_stays.push_back(!t.left_out.contains(t.cases[c].name));
    number[c] = next;
    next += case_stays.back() ? 1 : 0;
  }
  for (std::int32_t& c : t.case_id) {
    row_stays.push_back(case_stays[static_cast<std::size_t>(c)]);
    c = number[static_cast<std::size_t>(c)];
  }
  keep(t.values, row_stays, static_cast<std::size_t>(t.dimensions));
  keep(t.case_id, row_stays);
  keep(t.slice, row_stays);
  keep(t.depth, row_stays);
  keep(t.content, row_stays);
  keep(t.cases, case_stays);
  for (auto& of_label : t.labels) keep(of_label, case_stays);
  for (auto& [name, values] : t.numbers) keep(values, case_stays);
  log::info("left out: " + std::to_string(names.size()) + " cases of " + t.facts.at("dataset") +
            " rated exclude");
}

std::vector<std::string> rated_exclude(const FeatureTable& t) {
  std::vector<std::string> names;
  for (const auto& [name, why] : t.left_out)
    if (why == kLeftOutRated) names.push_back(name);
  return names;
}

}  // namespace wsp::train
