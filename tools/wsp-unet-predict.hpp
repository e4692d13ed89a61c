#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tool_main.hpp"

namespace wsp {

/// wsp-unet predict.
struct PredictOptions {
  std::filesystem::path source, out;
  std::vector<std::filesystem::path> volumes;
  std::string device = "auto", precision = "auto";
  bool no_clean = false, force = false;
};
void declare_predict(CLI::App& app, PredictOptions& options);
/// Returns the exit code: 3 where a volume was refused.
int predict(const PredictOptions& options, const CommonOptions& common);

}  // namespace wsp
