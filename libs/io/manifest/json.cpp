#include <nlohmann/json.hpp>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {

std::string_view embedded_schema(std::string_view name);  // generated from schemas/

nlohmann::json load_json(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i + 1 < e.byte && i < text.size(); ++i) {
      if (text[i] == '\n') {
        ++line;
        column = 1;
      } else {
        ++column;
      }
    }
    throw Error(ErrorCode::usage, path.string() + ", line " + std::to_string(line) + ", column " +
                                      std::to_string(column) + ": not valid JSON (" + e.what() + ")");
  }
}

std::vector<std::string> schema_violations(std::string_view schema_name, const nlohmann::json& value) {
  const std::string_view text = embedded_schema(schema_name);
  if (text.empty()) throw Error(ErrorCode::failure, "no schema named " + std::string(schema_name));
  try {
    const nlohmann::json document = nlohmann::json::parse(text);
    valijson::Schema schema;
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(document), schema);
    valijson::Validator validator;
    valijson::ValidationResults results;
    std::vector<std::string> violations;
    if (validator.validate(schema, valijson::adapters::NlohmannJsonAdapter(value), &results)) return violations;
    valijson::ValidationResults::Error error;
    while (results.popError(error)) {
      std::string where;
      for (const std::string& part : error.context) where += part;
      violations.push_back(where + ": " + error.description);
    }
    if (violations.empty()) violations.emplace_back("the value does not follow its schema");
    return violations;
  } catch (const std::exception& e) {
    throw Error(ErrorCode::failure, "schema " + std::string(schema_name) + " cannot be used: " + e.what());
  }
}

}  // namespace wsp
