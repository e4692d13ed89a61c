#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace wsp {

/// What every tool accepts.
struct CommonOptions {
  int threads = 0;  ///< 0: all cores
  std::uint64_t seed = 0;
  bool json = false;
  std::string log_level = "info";
};

/// A tool declares its options and runs; tool_main owns everything else.
struct Tool {
  std::string name;
  std::string description;
  std::string footer;  ///< examples at the end of --help
  std::function<void(CLI::App&)> declare;
  std::function<int(const CommonOptions&)> run;  ///< returns the exit code
  /// The verb that is meant where the command line names none; empty: one must be named, or the
  /// tool has none.
  std::string usual_verb = {};
  /// What a --config file is in options, where it is what a run recorded; else nothing. Throws
  /// Error(usage) for what no option can give.
  std::function<std::optional<nlohmann::json>(const nlohmann::json&)> recorded = {};
};

/// An option by the name that it had in the version before: taken with a word, and in no help.
void warn_of_earlier(const std::string& before, const std::string& now);
template <class T>
void declare_earlier(CLI::App& app, const std::string& before, const std::string& now, T& value) {
  app.add_option_function<T>(before,
                             [&value, before, now](const T& given) {
                               warn_of_earlier(before, now);
                               value = given;
                             })
      ->group("");
}

/// Parse, configure logging and threads, run, and turn errors into messages and exit codes (DESIGN
/// §4).
int tool_main(int argc, char** argv, const Tool& tool);

}  // namespace wsp
