#include "io/core/log.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <string>

#include "io/core/error.hpp"
#include "io/core/printable.hpp"

namespace wsp::log {
namespace {
spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_color_mt("wsp");
    made->set_pattern("%^%l%$: %v");
    return made;
  }();
  return *instance;
}
}  // namespace

void configure(std::string_view level) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off")
    throw Error(ErrorCode::usage, "--log-level is '" + std::string(level) +
                                      "': expected trace, debug, info, warn, error or off");
  logger().set_level(parsed);
}
void debug(std::string_view text) { logger().debug("{}", printable_message(text)); }
void info(std::string_view text) { logger().info("{}", printable_message(text)); }
void warn(std::string_view text) { logger().warn("{}", printable_message(text)); }
void error(std::string_view text) { logger().error("{}", printable_message(text)); }

}  // namespace wsp::log
