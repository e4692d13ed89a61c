// Text of unknown origin on a terminal, and in JSON.
#include "io/core/printable.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "io/core/json_text.hpp"

namespace wsp {
namespace {

TEST(Printable, LeavesOrdinaryTextAlone) {
  for (const char* text : {"", "a/b.dcm", "Müller, Jürgen 肝臓 😀", "back\\slash", "~"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, EscapesWhatATerminalObeys) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("a\nb\tc\rd\x7f"), "a\\nb\\tc\\rd\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");  // the one-byte CSI of ISO 6429
  EXPECT_EQ(printable("a\xe2\x80\xae.gpj"), "a\\xe2\\x80\\xae.gpj");  // right to left
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
}

TEST(Printable, TwoNamesStayTwo) {
  const std::set<std::string> names{"a\xff",  "a\xfe",   "a\\xff\xff", "a\xff\\xff",
                                    "a\xc3(", "a\xe9\n", "a\\n\n",     "a\n\\n"};
  std::set<std::string> shown;
  for (const std::string& name : names) shown.insert(printable(name));
  EXPECT_EQ(shown.size(), names.size());
}

TEST(Printable, MessagesKeepTheirLines) {
  EXPECT_EQ(printable_message("a\n\tb\\\x1b\xff"), "a\n\tb\\\\x1b\\xff");
}

TEST(Utf8, IsJudgedByRfc3629) {
  for (const char* good : {"", "a", "é", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << good;
  // alone, cut, overlong, a surrogate, beyond Unicode, never a first byte
  for (const char* bad : {"\x80", "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff"})
    EXPECT_FALSE(is_utf8(bad)) << printable(bad);
}

TEST(JsonText, NeverThrows) {
  const nlohmann::json value{{"name", "a\xff"}};
  EXPECT_THROW((void)value.dump(), nlohmann::json::exception);
  EXPECT_EQ(json_text(value), "{\"name\":\"a\xef\xbf\xbd\"}");
  EXPECT_EQ(json_text(nlohmann::json{{"a", 1}}, 1), nlohmann::json({{"a", 1}}).dump(1));
}

}  // namespace
}  // namespace wsp
