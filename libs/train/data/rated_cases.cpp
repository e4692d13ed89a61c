#include "train/data/rated_cases.hpp"

#include <nlohmann/json.hpp>

#include "io/manifest/manifest.hpp"
#include "io/manifest/ratings.hpp"

namespace wsp::train {

std::set<std::string> cases_left_out_before(const std::filesystem::path& dataset) {
  return load_json(dataset / "dataset.json")
      .value("config", nlohmann::json::object())
      .value("exclude_cases", std::set<std::string>());
}

std::vector<std::string> cases_rated_exclude(const std::filesystem::path& ratings,
                                             const std::filesystem::path& dataset,
                                             const DatasetReader& reader, std::string_view option) {
  if (ratings.empty()) return {};
  std::set<std::string> here;
  for (const IndexCase& entry : reader.cases()) here.insert(entry.name);
  return cases_to_leave_out(ratings, here, cases_left_out_before(dataset), option);
}

}  // namespace wsp::train
