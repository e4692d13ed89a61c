#include "io/medical/mask_names.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "io/medical/image_file.hpp"

namespace wsp {

namespace fs = std::filesystem;

std::string organ_file_name(std::string organ) {
  std::replace(organ.begin(), organ.end(), ' ', '_');
  return organ;
}

std::vector<Alias> aliases_of(const std::string& stem, const std::string& organ) {
  std::vector<Alias> aliases{{stem, true}};
  for (const std::string& end : {std::string("_seg"), std::string("_mask"), "_" + organ,
                                 std::string("-seg"), std::string("-mask")})
    if (stem.size() > end.size() && stem.ends_with(end))
      aliases.push_back({stem.substr(0, stem.size() - end.size()), false});
  constexpr std::string_view kLits = "segmentation-";
  if (stem.size() > kLits.size() && stem.starts_with(kLits)) {
    aliases.push_back({"volume-" + stem.substr(kLits.size()), false});
    aliases.push_back({stem.substr(kLits.size()), false});
  }
  return aliases;
}

PathName image_path_name(const fs::path& relative) {
  return path_name((relative.parent_path() / image_stem(relative)).generic_string());
}

bool is_kind(const fs::path& folder, std::initializer_list<std::string_view> kinds) {
  std::string word;
  for (const char c : folder.filename().string())
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const std::string_view end : {"tr", "ts", "va"})
    if (word.size() > 2 && word.ends_with(end)) word.resize(word.size() - 2);
  if (word.ends_with('s')) word.pop_back();
  return std::find(kinds.begin(), kinds.end(), word) != kinds.end();
}

bool is_split(const std::string& owner) {
  return std::set<std::string_view>{"tr",  "ts",         "va",       "train",  "test",
                                    "val", "validation", "training", "testing"}
      .contains(owner);
}

}  // namespace wsp
