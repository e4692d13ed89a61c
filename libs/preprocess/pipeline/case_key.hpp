#pragma once
#include <string>

#include "preprocess/pipeline/case_work.hpp"

namespace wsp {

/// Whether the segmenter, where there is one, may be asked for a case's mask.
bool may_ask_model(const Segmenter* segmenter, const IngestConfig& config, const CasePlan& plan);

/// The key of a case: SHA-256 over every file that is read for it and as what (image, data beside a
/// header, duplicate, mask, SEG, RTSTRUCT), its plan and the configuration with the data epoch. The
/// planes' hashes are taken from `loaded`, where it has them, else from the files.
std::string case_key(const CaseInputs& inputs, const CasePlan& plan, const std::string& config_hash,
                     const LoadedVolume* loaded = nullptr);

}  // namespace wsp
