#include "io/manifest/identity.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <numeric>
#include <thread>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

SiteKey counting_key() {
  std::vector<std::uint8_t> bytes(32);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  return SiteKey(bytes);
}

TEST(Naming, EqualsPythonsHmac) {
  // hmac.new(bytes(range(32)), b"subject\0SITE|12345", "sha256").hexdigest()[:16], and the same for
  // a path.
  const Naming naming(IdMode::pseudonym, counting_key());
  EXPECT_EQ(naming.subject("SITE|12345"), "sub-4f20003b15d13c28");
  EXPECT_EQ(naming.path("a/b.dcm"), "135f3b5f17202bca97e840edfa0c5868");
  EXPECT_NE(naming.case_name("SITE|12345").substr(5), naming.subject("SITE|12345").substr(4));
}

// Python's hmac and hashlib, asked at test time, agree on keys and texts of many shapes.
TEST(Naming, EqualsPythonsHmacForManyTexts) {
  const char* python = std::getenv("WSP_PYTHON");
  if (python == nullptr || *python == '\0')
    GTEST_SKIP() << "WSP_PYTHON is not set: no Python to ask";
  const std::vector<std::string> texts = {"", "a", "SITE|1 2", "M\xC3\xBCller^J\xC3\xB6rg",
                                          std::string(5000, 'x')};
  const test::TemporaryDirectory work;
  const SiteKey key = SiteKey::create(work.path() / "key");
  std::string script =
      "import hmac\n"
      "key = bytes.fromhex(open('" +
      (work.path() / "key").string() +
      "').read().strip())\n"
      "def p(kind, hexed, n):\n"
      "    return hmac.new(key, kind + b'\\0' + bytes.fromhex(hexed), 'sha256').hexdigest()[:n]\n"
      "out = open('" +
      (work.path() / "out").string() + "', 'w')\n";
  std::string expected;
  const Naming naming(IdMode::pseudonym, key);
  for (const std::string& text : texts) {
    const std::string hexed =
        hex({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    script += "out.write('sub-' + p(b'subject', '" + hexed + "', 16) + ' case-' + p(b'case', '" +
              hexed + "', 16) + ' ' + p(b'path', '" + hexed + "', 32) + '\\n')\n";
    expected +=
        naming.subject(text) + " " + naming.case_name(text) + " " + naming.path(text) + "\n";
  }
  write_file_atomic(work.path() / "ask.py", std::string_view(script));
  ASSERT_EQ(std::system((std::string(python) + " " + (work.path() / "ask.py").string()).c_str()),
            0);
  EXPECT_EQ(read_file(work.path() / "out"), expected);
}

// Whoever starts first makes the key; the others find it whole, at every moment.
TEST(SiteKeyFile, IsMadeOnceAndWhole) {
  for (int round = 0; round < 20; ++round) {
    const test::TemporaryDirectory work;
    const auto path = work.path() / "site.key";
    std::atomic<int> made{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        try {
          (void)SiteKey::create(path);
          ++made;
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::usage);
        }
        EXPECT_NO_THROW((void)SiteKey::load(path));
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(made, 1);
  }
}

TEST(Naming, DigestTellsKeysApart) {
  const Naming a(IdMode::pseudonym, counting_key());
  EXPECT_EQ(a.key_digest(), Naming(IdMode::keep, counting_key()).key_digest());
  EXPECT_NE(a.key_digest(),
            Naming(IdMode::keep, SiteKey(std::vector<std::uint8_t>(32, 7))).key_digest());
}

TEST(Naming, DependsOnTheKey) {
  EXPECT_NE(Naming(IdMode::pseudonym, counting_key()).subject("a"),
            Naming(IdMode::pseudonym, SiteKey(std::vector<std::uint8_t>(32, 7))).subject("a"));
}

TEST(Naming, KeepsPublicNamesSafeAndDistinct) {
  const Naming naming(IdMode::keep, counting_key());
  EXPECT_EQ(naming.subject("TCGA-DD-A113"), "TCGA-DD-A113");
  EXPECT_NE(naming.subject("a/b"), naming.subject("a b"));
  for (const char* text : {"../../etc/passwd", "", ".", "a\nb", "\xC3\xA9t\xC3\xA9"})
    for (const char c : naming.case_name(text))
      EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-')
          << text;
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
  for (const mode_t mode : {0640, 0604, 0620, 0610, 0644, 0777}) {
    ::chmod(path.c_str(), mode);
    try {
      (void)SiteKey::load(path);
      ADD_FAILURE() << "accepted mode " << std::oct << mode;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find("chmod 600 '" + path.string() + "'"), std::string::npos)
          << e.what();
    }
  }
  ::chmod(path.c_str(), 0400);
  EXPECT_EQ(SiteKey::load(path).bytes(), made.bytes());
  write_file_atomic(work.path() / "short", std::string_view("abcd\n"), 0600);
  EXPECT_THROW((void)SiteKey::load(work.path() / "short"), Error);
  EXPECT_THROW((void)SiteKey::load(work.path() / "absent"), Error);
}

TEST(SiteKey, IsSixtyFourHexDigits) {
  const test::TemporaryDirectory work;
  const auto path = work.path() / "key";
  const std::string good = hex(counting_key().bytes());
  for (const std::string& text : {good, good + "\n", good + "\r\n"}) {
    write_file_atomic(path, std::string_view(text), 0600);
    EXPECT_EQ(SiteKey::load(path).bytes(), counting_key().bytes());
  }
  for (const std::string& text : {std::string(), good.substr(1), good + "00", "g" + good.substr(1),
                                  good + "\n" + good, " " + good}) {
    write_file_atomic(path, std::string_view(text), 0600);
    EXPECT_THROW((void)SiteKey::load(path), Error) << text;
  }
}

TEST(SiteKey, FailedCreationLeavesNothingAndSaysWhy) {
  const test::TemporaryDirectory work;
  try {
    (void)SiteKey::create(work.path() / "absent" / "key");
    ADD_FAILURE() << "made a key in a directory that does not exist";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
  }
  set_file_fault_hook([](FileStep step, const auto&) {
    if (step == FileStep::write) throw Error(ErrorCode::output, "disk full");
  });
  EXPECT_THROW((void)SiteKey::create(work.path() / "key"), Error);
  set_file_fault_hook({});
  EXPECT_TRUE(std::filesystem::is_empty(work.path()));
}

}  // namespace
}  // namespace wsp
