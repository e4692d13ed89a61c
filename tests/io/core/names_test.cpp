#include "io/core/names.hpp"

#include <gtest/gtest.h>

namespace wsp {
namespace {

int agreement(const char* a, const char* b) {
  return folder_agreement(path_name(std::string(a) + "/x").folders,
                          path_name(std::string(b) + "/x").folders);
}

TEST(Names, OfAPath) {
  const PathName name = path_name("./siteA//images/001.5");
  EXPECT_EQ(name.folders, (std::vector<std::string>{"siteA", "images"}));
  EXPECT_EQ(name.stem, "001.5");
  EXPECT_EQ(to_string(name), "siteA/images/001.5");
  EXPECT_EQ(path_name("7").stem, "7");
  EXPECT_EQ(volume_names(path_name("a/liver_3_0000"))[1].stem, "liver_3");
  EXPECT_EQ(volume_names(path_name("a/_0000")).size(), 1U);
}

TEST(Names, FoldersAgree) {
  EXPECT_GT(agreement("siteA", "siteA"), agreement("siteA", "masks_siteA"));
  EXPECT_GT(agreement("siteA/labels", "siteA/images"), agreement("siteA", ""));
  EXPECT_GT(agreement("siteA", "x/siteA"), agreement("siteA", ""));
  EXPECT_GT(agreement("imagesTr", "labelsTr"), 0);
  for (const auto& [a, b] : {std::pair{"siteA", "siteB"}, {"imagesTs", "labelsTr"},
                             {"siteA/p1", "siteA/p2"}, {"a/b", "b/a"}, {"siteA", "sitea/siteB2/x/y/siteC"}})
    EXPECT_EQ(agreement(a, b) > 0, std::string(b).starts_with("sitea")) << a << " " << b;
}

TEST(Names, PlaceholdersNameNobody) {
  for (const char* id : {"", " ", "0", "0000", "000000", "ANON", "anonymous", "Anonymized", "XXXX",
                         "x", "None", "N/A", "-", "???", "PATIENT", "unknown", "Test", "no id",
                         "de-identified"})
    EXPECT_TRUE(is_placeholder_id(id)) << id;
  for (const char* id : {"1", "10", "11", "0001", "ANON_0001", "PATIENT_0", "anon7", "TCGA-DD-A113",
                         "X1", "00471", "Testa", "111111"})
    EXPECT_FALSE(is_placeholder_id(id)) << id;
}

}  // namespace
}  // namespace wsp
