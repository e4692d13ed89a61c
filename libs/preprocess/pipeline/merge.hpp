#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace wsp {

struct MergeSummary {
  std::size_t parts = 0, files = 0, cases = 0, subjects = 0, slices = 0, quarantined_cases = 0;
};

/// Join the parts of an export (IngestOptions::part) into the dataset that one run would have made,
/// byte for byte: compressed chunks, cases and previews are copied, each against its hash; index,
/// ledger, quarantine and counts are put together. Takes every part once, made with the same
/// options, key and labels from the same files. An existing dataset at `out` is replaced as by an
/// update. Throws Error(usage) where parts do not fit together, saying how, Error(corrupt) where
/// one is damaged, and as OutputDirectory.
MergeSummary merge_parts(const std::filesystem::path& out,
                         const std::vector<std::filesystem::path>& parts,
                         const std::string& tool_version, bool force);

}  // namespace wsp
