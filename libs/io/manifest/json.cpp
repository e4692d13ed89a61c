#include <algorithm>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {

std::string_view embedded_schema(std::string_view name);  // generated from schemas/

namespace {

using nlohmann::json;

constexpr const char* kPatients = "subject_map";  // its keys and values name patients
constexpr int kDeepest = 64;                      // our documents are 6 levels deep at most
constexpr std::size_t kLongestText = 64 * 1024;   // std::regex recurses once per character

[[noreturn]] void fail_at(const std::filesystem::path& path, const std::string& text,
                          const json::parse_error& error) {
  // nlohmann counts bytes; people count lines and columns.
  const std::size_t end = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
  const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
  const std::size_t start = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  const std::size_t column = end - (start == std::string::npos ? 0 : start + 1);
  std::string what = error.what();  // "[json.exception.parse_error.101] ... column 3: what it is"
  if (const auto at = what.find("column "); at != std::string::npos)
    if (const auto colon = what.find(": ", at); colon != std::string::npos)
      what.erase(0, colon + 2);
  // What was read last may be a patient's name.
  if (const auto last = what.find("; last read: "); last != std::string::npos) what.erase(last);
  throw Error(ErrorCode::usage, path.string() + ", line " + std::to_string(line + 1) + ", column " +
                                    std::to_string(column + 1) + ": not valid JSON: " + what);
}

// The parser would keep the last of two equal keys in silence; a class would bend unseen.
class KeyGuard {
 public:
  explicit KeyGuard(std::string file) : file_(std::move(file)) {}
  bool operator()(int depth, json::parse_event_t event, const json& value) {
    if (depth > kDeepest)
      throw Error(ErrorCode::usage,
                  file_ + " is nested deeper than " + std::to_string(kDeepest) + " levels");
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event != json::parse_event_t::key) return true;
    const auto key = value.get<std::string>();
    if (keys_.size() == 1) names_patients_ = key == kPatients;
    if (!keys_.back().insert(key).second)
      throw Error(ErrorCode::usage,
                  file_ + ": " +
                      (keys_.size() > 1 && names_patients_ ? "a key of " + std::string(kPatients)
                                                           : "the key '" + key + "'") +
                      " stands twice in one object; keep one");
    return true;
  }

 private:
  std::string file_;
  std::vector<std::set<std::string>> keys_;
  bool names_patients_ = false;  // inside the member whose keys do
};

// valijson names a place as "<root>", "[labels]" (from 1.1 on "["labels"]"), "[0]"; this returns
// "labels", "0".
std::vector<std::string> tokens_of(const std::vector<std::string>& context) {
  std::vector<std::string> tokens;
  for (const std::string& part : context) {
    if (part.size() < 2 || part.front() != '[' || part.back() != ']') continue;
    const bool quoted = part.size() >= 4 && part[1] == '"' && part[part.size() - 2] == '"';
    const std::size_t edge = quoted ? 2 : 1;
    tokens.push_back(part.substr(edge, part.size() - 2 * edge));
  }
  return tokens;
}

const json* child(const json& value, const std::string& token) {
  if (value.is_object() && value.contains(token)) return &value.at(token);
  if (value.is_array() && !token.empty() && token.size() < 10 &&
      token.find_first_not_of("0123456789") == std::string::npos &&
      std::stoul(token) < value.size())
    return &value.at(std::stoul(token));
  return nullptr;
}

// The part of a schema that rules the place, or null.
const json* rule(const json& schema, const std::string& token) {
  if (const json* properties = child(schema, "properties"))
    if (const json* property = child(*properties, token)) return property;
  if (const json* items = child(schema, "items"); items != nullptr && items->is_object())
    return items;
  return child(schema, "additionalProperties");
}

// Whether a value has the type, or one of the types, that a schema names.
bool is_of_type(const json& value, const json& type) {
  if (type.is_array())
    return std::any_of(type.begin(), type.end(),
                       [&](const json& one) { return is_of_type(value, one); });
  return type == value.type_name() || (type == "integer" && value.is_number_integer());
}

// "/labels/0/column: Value type not permitted ...; expected string, found 3"
std::string describe(const valijson::ValidationResults::Error& error, const json& schema,
                     const json& value) {
  std::string where;
  const json* here = &value;
  const json* wanted = &schema;
  bool secret = false;
  for (const std::string& token : tokens_of(error.context)) {
    where += secret ? "/..." : "/" + token;
    secret = secret || token == kPatients;
    if (here != nullptr) here = child(*here, token);
    if (wanted != nullptr) wanted = rule(*wanted, token);
  }
  if (secret) return where + ": " + "an entry is not as the schema wants it";
  std::string text = (where.empty() ? "/" : where) + ": " + error.description;
  if (wanted == nullptr || here == nullptr) return text;
  if (const json* words = child(*wanted, "enum"))
    text += "; expected one of " + json_text(*words);
  else if (const json* pattern = child(*wanted, "pattern"))
    text += "; expected text like " + json_text(*pattern);
  else if (const json* type = child(*wanted, "type"); type != nullptr && is_of_type(*here, *type))
    return text;  // what is wrong is not its type
  else if (type != nullptr)
    text += "; expected " + (type->is_string() ? type->get<std::string>() : json_text(*type));
  text += ", found ";
  const std::string found = here->is_structured() ? "" : json_text(*here);
  return text + (found.empty() || found.size() > 60 ? here->type_name() : found);
}

struct ParsedSchema {
  json document;
  valijson::Schema schema;

  explicit ParsedSchema(std::string_view text) : document(json::parse(text)) {
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    // No fetch function is given: a remote $ref makes this throw.
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(document), schema);
  }
};

// Parsed once: that takes twice as long as to check a case.
const ParsedSchema& parsed_schema(std::string_view name) {
  static std::mutex mutex;
  static std::map<std::string, ParsedSchema, std::less<>> parsed;
  const std::scoped_lock lock(mutex);
  const auto known = parsed.find(name);
  if (known != parsed.end()) return known->second;
  const std::string_view text = embedded_schema(name);
  if (text.empty()) throw Error(ErrorCode::failure, "no schema named " + std::string(name));
  return parsed.try_emplace(std::string(name), text).first->second;
}

bool has_long_text(const json& value) {
  std::vector<const json*> open{&value};
  while (!open.empty()) {
    const json& next = *open.back();
    open.pop_back();
    if (next.is_string() && next.get_ref<const std::string&>().size() > kLongestText) return true;
    if (next.is_structured())
      for (const json& item : next) open.push_back(&item);
  }
  return false;
}

}  // namespace

json load_json(const std::filesystem::path& path) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec))
    throw Error(ErrorCode::usage, "expected a JSON file at " + path.string() + ", found " +
                                      (std::filesystem::exists(path, ec) ? "no file" : "nothing"));
  const std::string text = read_file(path);
  KeyGuard guard(path.string());
  try {
    return json::parse(text, [&](int depth, json::parse_event_t event, json& value) {
      return guard(depth, event, value);
    });
  } catch (const json::parse_error& e) {
    fail_at(path, text, e);
  } catch (const json::exception& e) {
    throw Error(ErrorCode::usage, path.string() + ": not valid JSON: " + e.what());
  }
}

std::vector<std::string> schema_violations(std::string_view schema_name, const json& value) {
  if (has_long_text(value))
    return {"/: a text is longer than " + std::to_string(kLongestText) + " bytes"};
  try {
    const auto& [document, schema] = parsed_schema(schema_name);
    valijson::Validator validator;
    valijson::ValidationResults results;
    if (validator.validate(schema, valijson::adapters::NlohmannJsonAdapter(value), &results))
      return {};
    std::vector<std::string> violations;
    valijson::ValidationResults::Error error;
    std::vector<std::string> around;  // lines that only say that something inside is wrong
    while (results.popError(error)) {
      const bool outer = error.description.starts_with("Failed to validate against schema") ||
                         error.description.starts_with("Failed to validate item");
      (outer ? around : violations).push_back(describe(error, document, value));
    }
    if (violations.empty()) violations = std::move(around);
    if (violations.empty()) violations.emplace_back("/: the value does not follow its schema");
    return violations;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(ErrorCode::usage,
                "schema " + std::string(schema_name) + " cannot be applied: " + e.what());
  }
}

}  // namespace wsp
