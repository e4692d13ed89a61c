#include "train/data/provenance.hpp"

#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"

namespace wsp::train {

std::string subject_mark(const std::string& subject) {
  return hex(sha256("wsp-unet trained on " + subject)).substr(0, 32);
}

std::string marks_text(const std::set<std::string>& marks) {
  return json_text(nlohmann::json(marks));
}

Provenance provenance_of(const std::map<std::string, std::string>& metadata,
                         const std::filesystem::path& file) {
  const auto value = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  const auto marks = [&](const char* key) -> std::optional<std::set<std::string>> {
    if (!metadata.contains(key)) return std::nullopt;
    try {
      return nlohmann::json::parse(value(key)).get<std::set<std::string>>();
    } catch (const nlohmann::json::exception&) {
      throw Error(
          ErrorCode::corrupt,
          file.string() +
              " does not list the subjects trained on as our trainers write them: train it again");
    }
  };
  return {value("wsp.method"), value("wsp.dataset_sha256"), marks("wsp.trained_on"),
          marks("wsp.chosen_on")};
}

}  // namespace wsp::train
