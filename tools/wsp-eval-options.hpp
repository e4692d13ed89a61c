#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tool_main.hpp"
#include "train/eval/embed.hpp"
#include "train/eval/exchange.hpp"
#include "train/eval/experiment.hpp"
#include "train/eval/finetune.hpp"

namespace wsp {

/// Everything that a command of wsp-eval is told.
struct EvalOptions {
  train::EmbedOptions embed;
  train::FinetuneOptions finetune;
  train::ProtocolOptions protocol;
  train::ExperimentOptions experiment;
  std::filesystem::path out, figures, plan, against, save, probe, pretraining, npy_file, slices;
  train::ImportContext import;
  std::vector<std::filesystem::path> ratings;
  std::vector<std::string> features, labels, positives;
  std::string c = "1", reader;
  std::vector<std::string> by;
  bool npy = false, projector = false, force = false, no_shortcuts = false, list = false,
       tables_only = false, allow_overlap = false;
  int shown = 10, refits = 200;
  CLI::App *embed_command = nullptr, *import_command = nullptr, *probe_command = nullptr,
           *pca_command = nullptr, *finetune_command = nullptr, *table_command = nullptr,
           *predict_command = nullptr;
};
void declare_eval(CLI::App& app, EvalOptions& options);

/// Label and positive classes, as often as they were given. Throws Error(usage).
std::vector<train::Diagnosis> diagnoses(const EvalOptions& options);
train::Diagnosis one_diagnosis(const EvalOptions& options);
/// --C into the protocol. Throws Error(usage).
void set_c(EvalOptions& options);

/// Before the work, not after it: throw Error(output) where a file stands in the way, a directory
/// cannot be made or is not there.
void refuse_existing(const std::filesystem::path& path, bool force);
void make_directory(const std::filesystem::path& path);
void need_directory_of(const std::filesystem::path& file);

}  // namespace wsp
