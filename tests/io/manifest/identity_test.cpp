#include <gtest/gtest.h>
#include <sys/stat.h>

#include <numeric>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/identity.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

SiteKey counting_key() {
  std::vector<std::uint8_t> bytes(32);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  return SiteKey(bytes);
}

TEST(Naming, EqualsPythonsHmac) {
  // hmac.new(bytes(range(32)), b"subject\0SITE|12345", "sha256").hexdigest()[:16], and the same for a path.
  const Naming naming(IdMode::pseudonym, counting_key());
  EXPECT_EQ(naming.subject("SITE|12345"), "sub-4f20003b15d13c28");
  EXPECT_EQ(naming.path("a/b.dcm"), "135f3b5f17202bca97e840edfa0c5868");
  EXPECT_NE(naming.case_name("SITE|12345").substr(5), naming.subject("SITE|12345").substr(4));
}

TEST(Naming, KeepsPublicNamesSafeAndDistinct) {
  const Naming naming(IdMode::keep, counting_key());
  EXPECT_EQ(naming.subject("TCGA-DD-A113"), "TCGA-DD-A113");
  EXPECT_NE(naming.subject("a/b"), naming.subject("a b"));
  for (const char* text : {"../../etc/passwd", "", ".", "a\nb", "\xC3\xA9t\xC3\xA9"})
    for (const char c : naming.case_name(text))
      EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-') << text;
  EXPECT_FALSE(naming.case_name("..").starts_with("."));
}

TEST(SiteKey, IsMadeOnceWithMode0600) {
  const test::TemporaryDirectory work;
  const auto path = work.path() / "key";
  const SiteKey made = SiteKey::create(path);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(SiteKey::load(path).bytes(), made.bytes());
  EXPECT_THROW((void)SiteKey::create(path), Error);
  EXPECT_NE(SiteKey::create(work.path() / "other").bytes(), made.bytes());
  ::chmod(path.c_str(), 0640);
  EXPECT_THROW((void)SiteKey::load(path), Error);
  write_file_atomic(work.path() / "short", std::string_view("abcd\n"), 0600);
  EXPECT_THROW((void)SiteKey::load(work.path() / "short"), Error);
  EXPECT_THROW((void)SiteKey::load(work.path() / "absent"), Error);
}

}  // namespace
}  // namespace wsp
