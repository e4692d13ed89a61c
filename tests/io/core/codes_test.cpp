#include "io/core/codes.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace wsp {
namespace {

nlohmann::json codes_json() {
  std::ifstream file(WSP_SOURCE_DIR "/schemas/codes.json");
  return nlohmann::json::parse(file);
}

TEST(Codes, AreExactlyTheListOfSchemas) {
  const auto json = codes_json();
  ASSERT_EQ(all_codes().size(), json["codes"].size());
  for (std::size_t i = 0; i < all_codes().size(); ++i) {
    const CodeInfo& built = all_codes()[i];
    const auto& listed = json["codes"][i];
    EXPECT_EQ(built.name, listed["code"].get<std::string>());
    EXPECT_EQ(to_string(built.kind), listed["kind"].get<std::string>());
    EXPECT_EQ(built.meaning, listed["meaning"].get<std::string>());
    EXPECT_EQ(built.remedy, listed["remedy"].get<std::string>());
  }
}

TEST(Codes, ReadBackFromTheirWords) {
  for (const CodeInfo& entry : all_codes()) {
    EXPECT_EQ(parse_code(entry.name), entry.code);
    EXPECT_EQ(to_string(entry.code), entry.name);
    EXPECT_EQ(info(entry.code).meaning, entry.meaning);
  }
  for (const char* word : {"", "used", "USED ", "NO_SUCH_CODE"})
    EXPECT_FALSE(parse_code(word).has_value()) << word;
}

TEST(Codes, AreUniqueUpperSnakeWordsWithARemedyWhereItIsNeeded) {
  const auto json = codes_json();
  std::set<std::string_view> words;
  for (const CodeInfo& entry : all_codes()) {
    EXPECT_TRUE(words.insert(entry.name).second) << entry.name << " stands twice";
    EXPECT_TRUE(json["kinds"].contains(std::string(to_string(entry.kind)))) << entry.name;
    EXPECT_FALSE(entry.meaning.empty()) << entry.name;
    for (const char c : entry.name)
      EXPECT_TRUE((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_') << entry.name;
    if (entry.kind == CodeKind::rejected) {
      EXPECT_FALSE(entry.remedy.empty()) << entry.name;
    }
  }
}

}  // namespace
}  // namespace wsp
