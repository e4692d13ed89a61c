// What a manifest's fields break of the schema, in plain words.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/manifest/csv.hpp"
#include "io/manifest/manifest_check.hpp"

namespace wsp {

std::string_view embedded_schema(std::string_view name);  // generated from schemas/

namespace {

using nlohmann::json;

std::string kind_of(const json& value) {
  if (value.is_string()) return "a text";
  if (value.is_number_integer()) return "a whole number";
  if (value.is_number()) return "a number";
  if (value.is_boolean()) return "true or false";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "a group { }";
  return "nothing (null)";
}

std::string wanted_kind(const std::string& type) {
  if (type == "string") return "a text in quotes";
  if (type == "integer") return "a whole number";
  if (type == "number") return "a number";
  if (type == "boolean") return "true or false";
  if (type == "array") return "a list [ ]";
  return "a group { }";
}

bool is_type(const json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "array") return value.is_array();
  return value.is_object();
}

using Problems = std::vector<std::string>;

void check(const json& value, const json& schema, const std::string& where, Problems& problems);

void say(Problems& problems, const std::string& where, const std::string& text) {
  problems.push_back((where.empty() ? "the manifest" : where) + ": " + text);
}

void check_any_of(const json& value, const json& kinds, const std::string& where,
                  Problems& problems) {
  std::string wanted;
  for (const json& one : kinds) {
    Problems tried;
    check(value, one, where, tried);
    if (tried.empty()) return;
    wanted += (wanted.empty() ? "" : " or ") + wanted_kind(one.value("type", "object"));
  }
  say(problems, where, "expected " + wanted + ", found " + kind_of(value));
}

void check_enum(const json& value, const json& words, const std::string& where,
                Problems& problems) {
  if (std::find(words.begin(), words.end(), value) != words.end()) return;
  std::string text;
  for (const json& word : words) text += (text.empty() ? "" : ", ") + word.dump();
  say(problems, where, std::string("expected ") + (words.size() > 1 ? "one of " : "") + text);
}

void check_text(const std::string& text, const json& schema, const std::string& where,
                Problems& problems) {
  if (text.empty() && schema.value("minLength", 0) > 0) say(problems, where, "is empty");
  if (!schema.contains("pattern")) return;  // the one pattern: the name of a label
  if (text.empty() || text[0] < 'a' || text[0] > 'z' ||
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
    say(problems, where,
        "'" + text +
            "' must begin with a small letter and hold only small letters, digits and '_'");
}

void check_number(double number, const json& schema, const std::string& where, Problems& problems) {
  if (schema.contains("minimum") && number < schema.at("minimum").get<double>())
    say(problems, where, "must be at least " + schema.at("minimum").dump());
  if (schema.contains("maximum") && number > schema.at("maximum").get<double>())
    say(problems, where, "must be at most " + schema.at("maximum").dump());
}

void check_list(const json& list, const json& schema, const std::string& where,
                Problems& problems) {
  if (list.empty() && schema.value("minItems", 0) > 0) say(problems, where, "the list is empty");
  if (!schema.contains("items")) return;
  for (std::size_t i = 0; i < list.size(); ++i)
    check(list[i], schema.at("items"), where + "[" + std::to_string(i) + "]", problems);
}

void check_group(const json& group, const json& schema, const std::string& where,
                 Problems& problems) {
  if (group.empty() && schema.value("minProperties", 0) > 0)
    say(problems, where, "is empty; leave it out instead");
  const json properties = schema.value("properties", json::object());
  for (const json& name : schema.value("required", json::array()))
    if (!group.contains(name.get<std::string>()))
      say(problems, where, "'" + name.get<std::string>() + "' is missing");
  std::vector<std::string> fields;
  for (const auto& [name, rule] : properties.items()) fields.push_back(name);
  for (const auto& [name, inner] : group.items()) {
    if (properties.contains(name)) {
      check(inner, properties.at(name), where.empty() ? name : where + "." + name, problems);
    } else if (schema.contains("additionalProperties") &&
               schema.at("additionalProperties").is_object()) {
      // Its name is a patient's, or a text of the table.
      check(inner, schema.at("additionalProperties"), where + ", an entry", problems);
    } else if (schema.value("additionalProperties", true) == false) {
      say(problems, where, "'" + name + "' is no field of it; the fields are " + quoted(fields));
    }
  }
}

// The part of JSON Schema that our schemas use.
void check(const json& value, const json& schema, const std::string& where, Problems& problems) {
  if (schema.contains("anyOf")) return check_any_of(value, schema.at("anyOf"), where, problems);
  if (schema.contains("enum")) return check_enum(value, schema.at("enum"), where, problems);
  const std::string type = schema.value("type", "object");
  if (!is_type(value, type))
    return say(problems, where, "expected " + wanted_kind(type) + ", found " + kind_of(value));
  if (value.is_string())
    check_text(value.get_ref<const std::string&>(), schema, where, problems);
  else if (value.is_number())
    check_number(value.get<double>(), schema, where, problems);
  else if (value.is_array())
    check_list(value, schema, where, problems);
  else if (value.is_object())
    check_group(value, schema, where, problems);
}

}  // namespace

std::vector<std::string> check_manifest_fields(const json& manifest) {
  Problems problems;
  check(manifest, json::parse(embedded_schema("manifest.schema.json")), "", problems);
  return problems;
}

}  // namespace wsp
