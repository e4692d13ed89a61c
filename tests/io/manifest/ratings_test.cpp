#include "io/manifest/ratings.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "support/expect_error.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::error_of;
using test::expect_in;

class RatingsFile : public testing::Test {
 protected:
  Ratings load(const std::string& text) {
    write_file_atomic(path_, text);
    return load_ratings(path_, "--exclude");
  }
  std::string refusal(const std::string& text) {
    return error_of(ErrorCode::usage, [&] { load(text); });
  }
  test::TemporaryDirectory root_;
  std::filesystem::path path_ = root_.path() / "ratings.tsv";
};

TEST_F(RatingsFile, TakesWhatThePageSavesAndLeavesOtherColumnsAlone) {
  const Ratings ratings =
      load("reader\tcase\trating\tnote\nA\tb\texclude\tx\nA\ta\tgood\t\nB\tb\texclude\t\n");
  EXPECT_EQ(ratings, (Ratings{{"a", "good"}, {"b", "exclude"}}));
  EXPECT_EQ(excluded_cases(ratings), std::set<std::string>{"b"});
  EXPECT_TRUE(load("case\trating\n").empty());
}

TEST_F(RatingsFile, NamesWhatIsNoRating) {
  expect_in(refusal("case\trating\na\tgood\nb\texlude\n"),
            {"--exclude", "row 2 (line 3 of the file)", "'exlude'", "good, usable or exclude"});
  expect_in(refusal("case\trating\na\t\n"), {"''", "row 1"});
  expect_in(refusal("case\trating\n\texclude\n"), {"without a case"});
  expect_in(refusal("case\tword\na\tgood\n"), {"no single 'rating'"});
  expect_in(refusal("case\tcase\trating\na\ta\tgood\n"), {"no single 'case'"});
  // Cut off in the middle of a row; of bytes that are no text; empty.
  expect_in(refusal("case\trating\na\tgood\nb"), {"found 1 cells, expected 2"});
  expect_in(refusal(std::string("case\trating\na\tgo\xff") + "od\n"), {"no UTF-8"});
  expect_in(refusal(""), {"is empty"});
  expect_in(refusal("case\trating\na\tgood\nb\tgood\na\texclude\n"),
            {"row 3", "case a", "'exclude' here and 'good' above"});
  std::filesystem::remove(path_);
  expect_in(error_of(ErrorCode::usage, [&] { load_ratings(path_, "--exclude"); }),
            {"--exclude: no file at"});
}

TEST(Ratings, OfCasesThatAreNotThereAreRefusedByName) {
  const Ratings ratings{{"a", "good"}, {"b", "exclude"}, {"c", "usable"}};
  EXPECT_NO_THROW(refuse_unknown_cases(ratings, {"a", "b", "c", "d"}, "--exclude"));
  expect_in(error_of(ErrorCode::usage, [&] { refuse_unknown_cases(ratings, {"b"}, "--exclude"); }),
            {"--exclude: 2 of 3 rated cases", "a, c"});
  std::set<std::string> many;
  for (char c = 'a'; c < 'a' + 13; ++c) many.insert(std::string(1, c));
  EXPECT_EQ(list_of_names(many), "a, b, c, d, e, f, g, h, i, j and 3 more");
}

}  // namespace
}  // namespace wsp
