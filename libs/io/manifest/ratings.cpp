#include "io/manifest/ratings.hpp"

#include <algorithm>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/csv.hpp"

namespace wsp {
namespace {

std::size_t column_of(const CsvTable& table, const char* name, const std::string& place) {
  const auto found = std::find(table.header.begin(), table.header.end(), name);
  if (found == table.header.end() || std::count(found, table.header.end(), name) != 1)
    throw Error(ErrorCode::usage, place +
                                      ": expected the columns case and rating, as the page of "
                                      "wsp-qa saves them, and found no single '" +
                                      name + "'");
  return static_cast<std::size_t>(found - table.header.begin());
}

}  // namespace

Ratings load_ratings(const std::filesystem::path& tsv, std::string_view option) {
  const std::string place = std::string(option) + " " + tsv.string();
  std::error_code ec;
  if (!std::filesystem::is_regular_file(tsv, ec))
    throw Error(ErrorCode::usage, std::string(option) + ": no file at " + tsv.string());
  const CsvTable table = parse_csv(read_file(tsv), place);
  const std::size_t case_column = column_of(table, "case", place),
                    rating_column = column_of(table, "rating", place);
  Ratings ratings;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string& name = table.rows[r][case_column];
    const std::string& rating = table.rows[r][rating_column];
    const std::string row = place + ", " + table.place(r) + ": ";
    if (name.empty()) throw Error(ErrorCode::usage, row + "a rating without a case");
    if (rating != "good" && rating != "usable" && rating != "exclude")
      throw Error(ErrorCode::usage,
                  row + "'" + rating + "' is no rating; expected good, usable or exclude");
    const auto [known, added] = ratings.emplace(name, rating);
    if (!added && known->second != rating)
      throw Error(ErrorCode::usage, row + "case " + name + " is rated '" + rating + "' here and '" +
                                        known->second + "' above; leave one of the two");
  }
  return ratings;
}

std::set<std::string> excluded_cases(const Ratings& ratings) {
  std::set<std::string> names;
  for (const auto& [name, rating] : ratings)
    if (rating == "exclude") names.insert(name);
  return names;
}

void refuse_unknown_cases(const Ratings& ratings, const std::set<std::string>& known,
                          std::string_view option) {
  std::set<std::string> unknown;
  for (const auto& [name, rating] : ratings)
    if (!known.contains(name)) unknown.insert(name);
  if (unknown.empty()) return;
  throw Error(ErrorCode::usage,
              std::string(option) + ": " + std::to_string(unknown.size()) + " of " +
                  std::to_string(ratings.size()) +
                  " rated cases are not here: " + list_of_names(unknown) +
                  ". Expected the ratings of this dataset, made under the same site key");
}

std::vector<std::string> cases_to_leave_out(const std::filesystem::path& tsv,
                                            const std::set<std::string>& here,
                                            const std::set<std::string>& gone,
                                            std::string_view option) {
  const Ratings ratings = load_ratings(tsv, option);
  std::set<std::string> known = here;
  known.insert(gone.begin(), gone.end());
  refuse_unknown_cases(ratings, known, option);
  std::vector<std::string> names;
  for (const std::string& name : excluded_cases(ratings))
    if (here.contains(name)) names.push_back(name);
  return names;
}

std::string list_of_names(const std::set<std::string>& names) {
  constexpr std::size_t kNamed = 10;
  std::string text;
  std::size_t n = 0;
  for (const std::string& name : names) {
    if (n++ == kNamed) return text + " and " + std::to_string(names.size() - kNamed) + " more";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

}  // namespace wsp
