// What a run could not see, and why it has no case.
#include "preprocess/pipeline/ledger.hpp"

#include <gtest/gtest.h>

namespace wsp {
namespace {

using Codes = std::map<std::string, std::size_t>;

TEST(Unseen, IsWhatHidesSomething) {
  EXPECT_TRUE(unseen_files({{"USED", 9}, {"NOT_DICOM", 3}, {"TRUNCATED_FILE", 1}, {"EXCLUDED", 2}})
                  .empty());
  EXPECT_EQ(unseen_text({{"USED", 9}}), "");
  const Codes hidden{
      {"UNREADABLE_DIRECTORY", 1}, {"PERMISSION_DENIED", 2}, {"LINK_NOT_FOLLOWED", 3},
      {"DANGLING_LINK", 4},        {"ARCHIVE", 5},           {"DATA_WITHOUT_HEADER", 6}};
  Codes all = hidden;
  all["USED"] = 100;
  EXPECT_EQ(unseen_files(all), hidden);
  const std::string text = unseen_text(all);
  EXPECT_NE(text.find("ARCHIVE 5: "), std::string::npos) << text;
  EXPECT_NE(text.find("-> unpack it first"), std::string::npos) << text;
  EXPECT_EQ(text.find("USED"), std::string::npos) << text;
}

TEST(Reasons, ComeByNumberAndWithTheirRemedy) {
  const std::string text = reasons_text(
      {{"NO_LIVER_MASK", 3}},
      {{"NO_LIVER_MASK", 60}, {"USED", 5}, {"NOT_CT", 7}, {"EMPTY_FILE", 8}, {"no code", 1}});
  EXPECT_NE(text.find("NO_LIVER_MASK 3: "), std::string::npos) << text;
  EXPECT_NE(text.find("--masks"), std::string::npos) << text;
  EXPECT_LT(text.find("EMPTY_FILE 8"), text.find("NOT_CT 7")) << text;
  for (const char* none : {"NO_LIVER_MASK 60", "USED 5", "no code"})
    EXPECT_EQ(text.find(none), std::string::npos) << text;
}

}  // namespace
}  // namespace wsp
