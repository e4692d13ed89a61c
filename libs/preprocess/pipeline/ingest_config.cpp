#include "preprocess/pipeline/ingest_config.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace wsp {

std::uint64_t default_memory_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE)) / 2;
}

ScanOptions scan_options(const IngestConfig& config, const DataManifest& manifest) {
  ScanOptions options;
  options.min_slices = config.min_slices;
  options.reject_tilt = config.reject_tilt;
  options.reject_gaps = config.reject_gaps;
  options.score_weights = manifest.score_weights;
  options.follow_links = config.follow_links;
  options.exclude = config.exclude;
  options.trust_hu = config.trust_hu;
  options.memory_bytes = static_cast<double>(default_memory_bytes());
  return options;
}

nlohmann::json to_json(const IngestConfig& c) {
  return {{"window_hu", {c.window.low, c.window.high}},
          {"central_fraction_permille", c.central_permille},
          {"min_area_mm2", c.min_area_mm2},
          {"size", c.size},
          {"slices", c.all_slices ? "all" : "central"},
          {"codec", to_string(c.codec)},
          {"shards", c.shards},
          {"min_slices", c.min_slices},
          {"tilt", c.reject_tilt ? "reject" : "resample"},
          {"gaps", c.reject_gaps ? "reject" : "accept"},
          {"require_phase", c.require_portal ? "portal" : "any"},
          {"all_series", c.all_series},
          {"clean_masks", c.clean_masks},
          {"mask_objects", c.ignore_mask_objects ? "ignore" : "use"},
          {"strict_subjects", c.strict_subjects},
          {"compare_masks", c.compare_masks},
          {"ids", c.ids == IdMode::keep ? "keep" : "pseudonym"},
          {"liver_roi", c.liver_roi},
          {"liver_labels", c.liver_labels},
          {"follow_links", c.follow_links},
          {"exclude", c.exclude},
          {"hu", c.trust_hu ? "trust" : "prove"}};
}

nlohmann::json resolved_config(const IngestConfig& c, const ConfigContext& context) {
  nlohmann::json config = to_json(c);
  if (c.liver_labels.empty()) config["liver_labels"] = context.manifest.liver_labels;
  // A glob may name a patient: under pseudonyms it is written as a path of the ledger is.
  if (c.ids == IdMode::pseudonym)
    for (auto& glob : config["exclude"]) glob = context.naming.path(glob.get<std::string>());
  if (!context.excluded.empty()) config["exclude_cases"] = context.excluded;
  config["manifest"] = context.manifest.name;
  if (const Organ& organ = context.manifest.organ; organ != Organ()) {
    nlohmann::json codes = nlohmann::json::array();
    for (const auto& [scheme, value] : organ.codes) codes.push_back(scheme + ":" + value);
    config["organ"] = {{"name", organ.name},
                       {"names", organ.names},
                       {"codes", codes},
                       {"volume_ml", {organ.least_ml, organ.most_ml}}};
    if (organ.shape) config["organ"]["shape"] = {organ.shape->first, organ.shape->second};
  }
  config["tool_version"] = context.tool_version;
  config["data_epoch"] = kDataEpoch;
  // Which weights are built in, only the cases that they serve depend on.
  if (context.segmenter != nullptr)
    config["segmenter"] = context.segmenter->builtin() ? "builtin" : context.segmenter->identity();
  return config;
}

nlohmann::json shaping_config(nlohmann::json resolved) {
  for (const char* name : {"exclude", "exclude_cases", "follow_links"}) resolved.erase(name);
  return resolved;
}

}  // namespace wsp
