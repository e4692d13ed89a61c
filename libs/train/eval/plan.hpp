#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/eval/cohort.hpp"
#include "train/eval/protocol.hpp"

namespace wsp::train {

/// One dataset of a plan and the diagnosis that is predicted on it.
struct Evaluation {
  std::string name, dataset;
  Diagnosis diagnosis;
  std::string exclude = {};  ///< ratings: cases rated exclude are left out; or empty
};

/// In place of a backbone: features that others made.
inline constexpr const char* kImported = "imported";

/// One thing that a plan computes: an encoder of one method, backbone and seed, probed everywhere.
struct Cell {
  std::string method, backbone;
  std::uint64_t seed = 0;
  std::string variant;                     ///< "" for the tables by method; else e.g. "sigma=0.2"
  nlohmann::json train;                    ///< overrides of the training configuration, all of them
  [[nodiscard]] std::string name() const;  ///< "wsp-tinynet-s1", "wsp-tinynet-s1-sigma=0.2"
};

/// An experiment: PLAN.json (schemas/plan.schema.json).
struct Plan {
  std::string name;
  std::string pretraining;          ///< dataset directory, or empty
  std::string pretraining_exclude;  ///< its ratings, or empty
  std::vector<Evaluation> evaluations;
  std::string aggregate;   ///< name of all evaluations together, or empty
  bool published = false;  ///< whether the datasets are the paper's own
  std::vector<std::string> methods, backbones;
  std::vector<std::uint64_t> seeds;
  std::map<std::string, std::string> weights;  ///< method imagenet: backbone -> file
  /// Encoders of others: name -> evaluation -> feature file (wsp-eval import, or embed).
  std::map<std::string, std::map<std::string, std::string>> imported = {};
  std::vector<double> sigmas;
  ProtocolOptions protocol;
  std::vector<std::string> by = {};  ///< columns of subgroups
  nlohmann::json text;               ///< as read
  /// All cells, in the order of --job. Methods that pretrain are left out of a plan without a
  /// pretraining dataset; imagenet where a backbone has no weights.
  [[nodiscard]] std::vector<Cell> cells() const;
  /// Lines of the tables by method: method and backbone; of imported features the name and
  /// kImported, at the end.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> rows() const;
  /// Whose WSP a line is compared with: its own backbone's, of imported features the first one's.
  [[nodiscard]] const std::string& reference_backbone(const std::string& backbone) const;
  /// What the plan asks for and cells() or the supervised method does not do, a sentence each.
  [[nodiscard]] std::vector<std::string> left_out() const;
};
/// Throws Error(usage) that lists what does not follow the schema or fit together.
Plan load_plan(const std::filesystem::path& path);

}  // namespace wsp::train
