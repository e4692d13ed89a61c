#pragma once
#include <string_view>

namespace wsp::log {

/// Set up logging to stderr; level is trace, debug, info, warn, error or off. Throws Error(usage).
/// Messages above debug level carry no paths, UIDs, dates, names or free text of the export.
void configure(std::string_view level);
void debug(std::string_view text);
void info(std::string_view text);
void warn(std::string_view text);
void error(std::string_view text);

}  // namespace wsp::log
