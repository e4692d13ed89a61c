#include "io/core/codes.hpp"

namespace wsp {

const std::vector<CodeInfo>& all_codes() {
  static const std::vector<CodeInfo> codes = {
#define WSP_CODE(name, kind, meaning, remedy) {Code::name, #name, CodeKind::kind, meaning, remedy},
#include "codes.inc"
#undef WSP_CODE
  };
  return codes;
}

const CodeInfo& info(Code code) { return all_codes().at(static_cast<std::size_t>(code)); }

std::string_view to_string(Code code) { return info(code).name; }

std::string_view to_string(CodeKind kind) {
  switch (kind) {
    case CodeKind::used:
      return "used";
    case CodeKind::ignored:
      return "ignored";
    case CodeKind::rejected:
      return "rejected";
    case CodeKind::flag:
      return "flag";
    case CodeKind::verify:
      return "verify";
    case CodeKind::qa:
      return "qa";
  }
  return "";
}

std::optional<Code> parse_code(std::string_view name) {
  for (const CodeInfo& entry : all_codes())
    if (entry.name == name) return entry.code;
  return std::nullopt;
}

}  // namespace wsp
