#pragma once
#include <string>

namespace wsp {

/// JSON (nlohmann's) as text, whatever bytes its strings hold: what is no UTF-8 becomes U+FFFD,
/// where dump() alone would throw. Everything that a tool prints, writes or hashes goes through
/// here. A template, so that core needs no JSON.
template <class Json>
std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace wsp
