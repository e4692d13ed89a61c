#pragma once
#include <optional>
#include <string_view>
#include <vector>

namespace wsp {

/// What a code says of its file or case (schemas/codes.json is the one list).
enum class CodeKind { used, ignored, rejected, flag, verify, qa };

/// A stable UPPER_SNAKE word for what became of a file or case; generated from schemas/codes.json.
enum class Code {
#define WSP_CODE(name, kind, meaning, remedy) name,
#include "codes.inc"
#undef WSP_CODE
};

struct CodeInfo {
  Code code;
  std::string_view name;
  CodeKind kind;
  std::string_view meaning;
  std::string_view remedy;
};

/// Describe one code.
const CodeInfo& info(Code code);
/// Return the code's stable word, e.g. "TRUNCATED_FILE".
std::string_view to_string(Code code);
/// Return the word of a kind, e.g. "rejected".
std::string_view to_string(CodeKind kind);
/// Find a code by its word.
std::optional<Code> parse_code(std::string_view name);
/// List every code in the order of schemas/codes.json.
const std::vector<CodeInfo>& all_codes();

}  // namespace wsp
