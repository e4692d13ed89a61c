#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
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
};

/// Parse, configure logging and threads, run, and turn errors into messages and exit codes (DESIGN
/// §4).
int tool_main(int argc, char** argv, const Tool& tool);

}  // namespace wsp
