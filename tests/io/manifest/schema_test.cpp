#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

const std::filesystem::path kSource = WSP_SOURCE_DIR;

TEST(Schemas, AcceptTheirExamples) {
  for (const char* name : {"ledger", "config", "dataset", "case"}) {
    const auto example = load_json(kSource / "schemas/examples" / (std::string(name) + ".json"));
    EXPECT_EQ(schema_violations(std::string(name) + ".schema.json", example), std::vector<std::string>{}) << name;
  }
  EXPECT_TRUE(schema_violations("codes.schema.json", load_json(kSource / "schemas/codes.json")).empty());
}

TEST(Schemas, RefuseEveryExampleThatLacksARequiredField) {
  for (const char* name : {"ledger", "config", "dataset", "case"}) {
    const auto schema = load_json(kSource / "schemas" / (std::string(name) + ".schema.json"));
    const auto example = load_json(kSource / "schemas/examples" / (std::string(name) + ".json"));
    for (const std::string field : schema["required"]) {
      auto broken = example;
      broken.erase(field);
      EXPECT_FALSE(schema_violations(std::string(name) + ".schema.json", broken).empty()) << name << " " << field;
    }
  }
}

TEST(Manifests, TheShippedOnesAreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "data-manifests")) {
    EXPECT_NO_THROW((void)load_manifest(entry.path())) << entry.path();
    ++count;
  }
  EXPECT_EQ(count, 5);
}

TEST(Manifests, NameEveryViolation) {
  const test::TemporaryDirectory work;
  const auto refused = [&](const char* text, const char* words) {
    write_file_atomic(work.path() / "m.json", std::string_view(text));
    try {
      (void)load_manifest(work.path() / "m.json");
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  };
  refused(R"({"name": "x", "version": 1, "key": "nhs_number"})", "key");
  refused(R"({"version": 1})", "name");
  refused(R"({"name": "x", "version": 1, "subject_pattern": "("})", "subject_pattern");
  refused(R"({"name": "x", "version": 1, "labels": [{"name": "score"}]})", "'label'");
  refused("{\n  \"name\": \"x\",\n  oops\n}", "line 3");
}

}  // namespace
}  // namespace wsp
