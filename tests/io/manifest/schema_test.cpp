#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

const std::filesystem::path kSource = WSP_SOURCE_DIR;
const std::vector<std::string> kSchemas = {
    "manifest",    "ledger",          "config", "dataset", "case",  "codes", "segmentation_model",
    "unet_config", "unet_evaluation", "rules",  "finding", "probe", "plan",  "nnunet_model"};

TEST(Schemas, AcceptTheirExamples) {
  for (const std::string& name : kSchemas) {
    const auto example = load_json(kSource / "schemas/examples" / (name + ".json"));
    EXPECT_EQ(schema_violations(name + ".schema.json", example), std::vector<std::string>{})
        << name;
  }
  EXPECT_TRUE(
      schema_violations("codes.schema.json", load_json(kSource / "schemas/codes.json")).empty());
}

TEST(Schemas, RefuseEveryExampleThatLacksARequiredField) {
  for (const std::string& name : kSchemas) {
    const auto schema = load_json(kSource / "schemas" / (name + ".schema.json"));
    const auto example = load_json(kSource / "schemas/examples" / (name + ".json"));
    for (const std::string field : schema["required"]) {
      auto broken = example;
      broken.erase(field);
      EXPECT_FALSE(schema_violations(name + ".schema.json", broken).empty())
          << name << " " << field;
    }
  }
}

TEST(Schemas, AllHaveOneExampleEach) {
  std::vector<std::string> schemas, examples;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "schemas")) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".schema.json")) schemas.push_back(name.substr(0, name.find('.')));
  }
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "schemas/examples"))
    examples.push_back(entry.path().stem().string());
  EXPECT_THAT(schemas, testing::UnorderedElementsAreArray(kSchemas));
  EXPECT_THAT(examples, testing::UnorderedElementsAreArray(kSchemas));
}

TEST(Schemas, AreVersionedDraft7AndReferToNothingElse) {
  for (const std::string& name : kSchemas) {
    const auto path = kSource / "schemas" / (name + ".schema.json");
    EXPECT_EQ(load_json(path)["$id"], "wsp/" + name + "/1");
    EXPECT_EQ(load_json(path)["$schema"], "http://json-schema.org/draft-07/schema#");
    EXPECT_EQ(read_file(path).find("$ref"), std::string::npos) << name;
  }
  EXPECT_THROW((void)schema_violations("absent.schema.json", {}), Error);
}

// Names of the properties below a schema that say nothing of themselves.
void undescribed(const nlohmann::json& schema, const std::string& where,
                 std::vector<std::string>& found) {
  const auto properties = schema.value("properties", nlohmann::json::object());
  for (const auto& [name, property] : properties.items()) {
    if (property.value("description", "").empty()) found.push_back(where + "/" + name);
    undescribed(property, where + "/" + name, found);
  }
  for (const char* below : {"items", "additionalProperties"})
    if (schema.contains(below) && schema[below].is_object())
      undescribed(schema[below], where + "[]", found);
}

TEST(Schemas, DescribeEveryProperty) {
  for (const std::string& name : kSchemas) {
    std::vector<std::string> found;
    undescribed(load_json(kSource / "schemas" / (name + ".schema.json")), name, found);
    EXPECT_THAT(found, testing::IsEmpty());
  }
}

TEST(Schemas, SayWhereWhatWasExpectedAndWhatWasFound) {
  const auto lines = [](nlohmann::json value) {
    value["name"] = "x";
    value["version"] = 1;
    std::string text;
    for (const auto& line : schema_violations("manifest.schema.json", value)) text += line + "\n";
    return text;
  };
  using testing::AllOf, testing::HasSubstr, testing::Not;
  EXPECT_THAT(lines({{"labels", {{{"name", "label"}, {"column", 3}}}}}),
              AllOf(HasSubstr("/labels/0/column: "), HasSubstr("expected string, found 3")));
  EXPECT_THAT(
      lines({{"key", "nhs_number"}}),
      AllOf(HasSubstr("/key: "), HasSubstr("\"series_uid\""), HasSubstr("found \"nhs_number\"")));
  EXPECT_THAT(lines({{"kye", "path"}}), HasSubstr("'kye'"));
  EXPECT_THAT(lines({{"labels", {{{"name", "label"}, {"values", {{"a", 1e300}}}}}}}),
              HasSubstr("/labels/0/values/a: "));
  EXPECT_THAT(lines({{"subject_map", {{"MUSTERMANN", 3}}}}),
              AllOf(HasSubstr("/subject_map/...: "), Not(HasSubstr("MUSTERMANN"))));
  EXPECT_THAT(lines({{"comment", std::string(1 << 20, 'x')}}), HasSubstr("longer than"));
}

TEST(Schemas, OfAModelRefuseUnknownKeysAndValues) {
  const auto example = load_json(kSource / "schemas/examples/segmentation_model.json");
  const auto lines = [](const nlohmann::json& value) {
    std::string all;
    for (const std::string& v : schema_violations("segmentation_model.schema.json", value))
      all += v + "\n";
    return all;
  };
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    auto changed = example;
    changed[nlohmann::json::json_pointer(pointer)] = value;
    return lines(changed);
  };
  using testing::HasSubstr;
  EXPECT_THAT(with("/treshold", 0.5), HasSubstr("'treshold'"));
  EXPECT_THAT(with("/input/orientaton", "SPL"), HasSubstr("'orientaton'"));
  EXPECT_THAT(with("/output/treshold", 0.5), HasSubstr("'treshold'"));
  EXPECT_THAT(with("/sha256", "ABC"), HasSubstr("/sha256: "));
  EXPECT_THAT(with("/file", "../other/model.ts"), HasSubstr("/file: "));
  EXPECT_THAT(with("/input/orientation", "SPX"), HasSubstr("/input/orientation: "));
  EXPECT_THAT(with("/input/dimensions", "4d"), HasSubstr("/input/dimensions: "));
  EXPECT_THAT(with("/output/activation", "relu"), HasSubstr("/output/activation: "));
  EXPECT_THAT(with("/output/threshold", 1), HasSubstr("/output/threshold: "));
  EXPECT_THAT(with("/output/liver_channels", nlohmann::json::array()),
              HasSubstr("/output/liver_channels: "));
  EXPECT_EQ(with("/input/spacing_mm", {nullptr, 1.5, 1.5}), "");
  EXPECT_THAT(with("/input/spacing_mm", {1.5, 1.5}), HasSubstr("/input/spacing_mm: "));
}

TEST(Json, NamesLineColumnRepeatedKeysAndDepth) {
  const test::TemporaryDirectory work;
  const auto message = [&](const std::string& text) -> std::string {
    write_file_atomic(work.path() / "x.json", std::string_view(text));
    try {
      (void)load_json(work.path() / "x.json");
      return "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage) << e.what();
      return e.what();
    }
  };
  using testing::HasSubstr;
  EXPECT_EQ(message("{\"a\": [1, 2]}"), "accepted");
  EXPECT_THAT(message("{\n  \"a\": 1,\n  oops\n}"),
              HasSubstr("x.json, line 3, column 3: not valid JSON"));
  EXPECT_THAT(message("]"), HasSubstr("line 1, column 1:"));
  EXPECT_THAT(message(""), HasSubstr("line 1, column 1:"));
  EXPECT_THAT(message("{\"a\": 1"), HasSubstr("line 1"));
  EXPECT_THAT(message("{\"a\": 1} // why"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("{\"a\": \"\xFF\"}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("{\"a\": 1e999}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("{\"a\": {\"b\": 1, \"b\": 2}}"), HasSubstr("'b' stands twice"));
  EXPECT_EQ(message("[{\"b\": 1}, {\"b\": 2}]"), "accepted");
  EXPECT_THAT(message(std::string(100000, '[')), HasSubstr("deeper"));
  EXPECT_THROW((void)load_json(work.path() / "absent.json"), Error);
  EXPECT_THROW((void)load_json(work.path()), Error);
}

TEST(Manifests, TheShippedOnesAreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "data-manifests")) {
    EXPECT_NO_THROW((void)load_manifest(entry.path())) << entry.path();
    ++count;
  }
  EXPECT_EQ(count, 7);
}

TEST(Manifests, HoldEveryField) {
  const DataManifest m = load_manifest(kSource / "schemas/examples/manifest.json");
  EXPECT_EQ(m.name, "example");
  EXPECT_EQ(m.key, "path");
  EXPECT_EQ(m.key_column, "file");
  EXPECT_EQ(m.path_pattern, "([^/]+)\\.nii\\.gz$");
  EXPECT_EQ(m.subject_pattern, "(P[0-9]+)");
  EXPECT_EQ(m.split_column, "split");
  ASSERT_EQ(m.labels.size(), 2U);
  EXPECT_EQ(m.labels[0].name, "label");
  EXPECT_EQ(m.labels[0].column, "score");
  EXPECT_EQ(m.labels[0].missing, std::vector<std::string>{"n/a"});
  EXPECT_EQ(m.labels[0].values, (std::map<std::string, std::int64_t>{{"none", 0}, {"mild", 1}}));
  EXPECT_EQ(m.labels[1].column, "ishak");
  EXPECT_EQ(m.continuous_names(), (std::vector<std::string>{"stiffness_kpa", "age"}));
  EXPECT_EQ(m.continuous[0].column, "elastography");
  EXPECT_EQ(m.continuous[0].missing, (std::vector<std::string>{"n/a", "-1"}));
  EXPECT_EQ(m.continuous[1].column, "age");
  EXPECT_EQ(m.subject_map.at("P1"), "person-1");
  EXPECT_EQ(m.pin_series, std::vector<std::string>{"1.2.3"});
  EXPECT_EQ(m.score_weights.at("thickness"), 0.5);
  EXPECT_EQ(m.liver_labels, (std::vector<std::int64_t>{1, 2}));
}

TEST(Manifests, WithoutLabelsHaveOneWeakLabel) {
  const DataManifest m = load_manifest(kSource / "data-manifests/lits.json");
  ASSERT_EQ(m.labels.size(), 1U);
  EXPECT_EQ(m.labels[0].name, "label");
  EXPECT_EQ(m.liver_labels, (std::vector<std::int64_t>{1, 2}));
}

TEST(Manifests, MayBeOfAnotherOrgan) {
  const DataManifest m = load_manifest(kSource / "data-manifests/phantom-spleen.json");
  EXPECT_EQ(m.organ.name, "spleen");
  EXPECT_FALSE(m.organ.is_liver());
  EXPECT_EQ(m.liver_labels, std::vector<std::int64_t>{5});
  EXPECT_EQ(m.organ.codes.front(), (std::pair<std::string, std::string>{"SCT", "78961009"}));
  EXPECT_EQ(m.organ.least_ml, 40);
  EXPECT_FALSE(m.organ.shape);
  EXPECT_TRUE(load_manifest(kSource / "data-manifests/lits.json").organ.is_liver());
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
  refused(R"({"name": "x", "version": 2})", "version: expected 1");
  refused(R"({"name": "x", "version": 1, "path_pattern": "abc"})", "no group");
  refused(R"({"name": "x", "version": 1, "labels": [{"name": "label"}, {"name": "row"}]})",
          "'row'");
  refused(R"({"name": "x", "version": 1, "labels": [{"name": "label"}, {"name": "label"}]})",
          "twice");
  refused(R"({"name": "x", "version": 1, "liver_labels": []})", "liver_labels: the list is empty");
  refused(R"({"name": "x", "version": 1, "score_weights": {"thicknes": 2}})", "thicknes");
  refused(
      R"({"name": "x", "version": 1, "liver_labels": [2], "organ": {"name": "spleen", "volume_ml": [1, 2]}})",
      "exclude each other");
  refused(R"({"name": "x", "version": 1, "organ": {"name": "spleen"}})", "volume_ml");
  refused("{\n  \"name\": \"x\",\n  oops\n}", "line 3");
}

}  // namespace
}  // namespace wsp
