#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

/// Which encoders and pretraining methods there are, and what is known of each. No Torch stands
/// here: command lines, plans and configurations read it too.
namespace wsp::train {

struct EncoderFacts {
  const char* name;
  const char* summary;  ///< for lists
};
std::span<const EncoderFacts> encoders();
std::vector<std::string> encoder_names();

struct MethodFacts {
  const char* name;
  const char* summary;         ///< for lists: what pulls two slices together
  bool use_label = false;      ///< pairs count by their weak label
  bool use_depth = false;      ///< pairs count by their depth
  bool own_view_only = false;  ///< no other slice is pulled
  bool use_number = false;     ///< learns from the number that --continuous names
};
std::span<const MethodFacts> methods();
std::vector<std::string> method_names();
/// Nothing for an unknown name.
std::optional<MethodFacts> method_facts(const std::string& name);

/// "wsp (a weak label and a depth), ...": for --help.
std::string methods_text();
std::string encoders_text();

}  // namespace wsp::train
