#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace wsp::test {

/// The shared test data: WSP_TEST_DATA, else ../shared/data beside the source tree; empty when
/// absent.
inline std::optional<std::filesystem::path> data_dir() {
  const char* variable = std::getenv("WSP_TEST_DATA");
  const std::filesystem::path path =
      variable != nullptr && *variable != '\0' ? variable : WSP_SOURCE_DIR "/../shared/data";
  if (std::filesystem::exists(path / "MANIFEST.md")) return path;
  return std::nullopt;
}

/// Reference values of losses and metrics: WSP_GOLDEN_DIR, else ../shared/golden beside the source
/// tree; empty when it holds no *.json.
inline std::optional<std::filesystem::path> golden_dir() {
  const char* variable = std::getenv("WSP_GOLDEN_DIR");
  const std::filesystem::path path =
      variable != nullptr && *variable != '\0' ? variable : WSP_SOURCE_DIR "/../shared/golden";
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(path, absent))
    if (entry.path().extension() == ".json") return path;
  return std::nullopt;
}

/// A directory of this test's own, removed at the end of the scope.
class TemporaryDirectory {
 public:
  /// Its name is of letters that no name or number of a patient is of: messages hold the path, and
  /// tests search them for what must not stand there.
  TemporaryDirectory() {
    std::random_device random;
    do {
      std::string name = "wsp-test-";
      for (int i = 0; i < 32; ++i) name += "jqxz"[random() % 4];
      path_ = std::filesystem::temp_directory_path() / name;
    } while (!std::filesystem::create_directory(path_));
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Remove all that stands in it but `names`: runs of several tests are gigabytes together.
  void clear_but(std::initializer_list<const char*> names) const {
    std::vector<std::filesystem::path> gone;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (std::find(names.begin(), names.end(), entry.path().filename()) == names.end())
        gone.push_back(entry.path());
    for (const auto& path : gone) std::filesystem::remove_all(path);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace wsp::test

/// Skip, loudly, where the shared data is absent.
#define WSP_REQUIRE_TEST_DATA(name)                                                               \
  const auto name##_found = wsp::test::data_dir();                                                \
  if (!name##_found) {                                                                            \
    std::fprintf(stderr, "*** TEST DATA ABSENT: set WSP_TEST_DATA; this test did not run ***\n"); \
    GTEST_SKIP() << "test data absent: set WSP_TEST_DATA";                                        \
  }                                                                                               \
  const std::filesystem::path& name = *name##_found

/// Skip, loudly, where the reference values are absent.
#define WSP_REQUIRE_GOLDEN(name)                                                              \
  const auto name##_found = wsp::test::golden_dir();                                          \
  if (!name##_found) {                                                                        \
    std::fprintf(stderr,                                                                      \
                 "*** GOLDEN FILES ABSENT: set WSP_GOLDEN_DIR; this test did not run ***\n"); \
    GTEST_SKIP() << "golden files absent: set WSP_GOLDEN_DIR";                                \
  }                                                                                           \
  const std::filesystem::path& name = *name##_found
