#include "preprocess/pipeline/case_key.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/medical/image_file.hpp"

namespace wsp {

bool may_ask_model(const Segmenter* segmenter, const IngestConfig& config, const CasePlan& plan) {
  return segmenter != nullptr && (plan.mask_files.empty() || config.compare_masks);
}

std::string case_key(const CaseInputs& in, const CasePlan& plan, const std::string& config_hash,
                     const LoadedVolume* loaded) {
  const Series& series = in.scan.series[plan.series];
  const auto path_of = [&](std::size_t f) { return in.scan.root / in.scan.files[f].relative_path; };
  const auto content = [&](const std::filesystem::path& path) -> std::string {
    try {
      return hex(sha256_file(path));
    } catch (const Error&) {  // its message names the path, which may name the patient
      throw Error(
          ErrorCode::failure,
          "a file of case " + plan.name + ", which the scan could read, cannot be read any more: " +
              std::strerror(errno) + ". Run the same command again once disk and network are well");
    }
  };
  std::map<std::size_t, std::string> known;
  if (loaded != nullptr && series.is_dicom)
    for (std::size_t i = 0; i < loaded->file_hashes.size(); ++i)
      known.emplace(loaded->files[i], hex(loaded->file_hashes[i]));
  const auto content_of = [&](std::size_t f) {
    const auto at = known.find(f);
    return at == known.end() ? content(path_of(f)) : at->second;
  };
  // An image's header may have its voxels beside it.
  const auto with_data = [&](const std::filesystem::path& header) {
    std::string hashes;
    for (const auto& path : image_files(header)) hashes += ' ' + content(path);
    return hashes;
  };
  // What was read, and as what: a copy counts again, and a volume's file as its mask is another
  // case. Sorted, so that what the files are called does not matter.
  std::vector<std::string> contents;
  std::map<std::size_t, std::string> frames;
  for (const Plane& plane : series.planes) frames[plane.file] += ' ' + std::to_string(plane.frame);
  for (const auto& [f, numbers] : frames)
    contents.push_back("planes" + (series.is_dicom ? ' ' + content_of(f) : with_data(path_of(f))) +
                       ',' + numbers);
  for (const std::size_t f : series.duplicate_files)
    contents.push_back("duplicate " + content(path_of(f)));
  for (const std::size_t m : plan.mask_objects)
    contents.push_back((in.scan.masks[m].is_rtstruct ? "rtstruct " : "seg ") +
                       content(path_of(in.scan.masks[m].file)));
  for (const auto& mask : plan.mask_files) contents.push_back("mask" + with_data(mask));
  std::sort(contents.begin(), contents.end());
  Sha256 hash;
  hash.update(config_hash);
  for (const std::string& line : contents) hash.update(line + '\n');
  nlohmann::json rest{{"name", plan.name},
                      {"subject", plan.subject},
                      {"split", plan.split},
                      {"labels", plan.labels},
                      {"candidates", plan.candidates}};
  // The case's JSON says what it was told from, which other files decide too.
  for (const SplitReason& reason : series.split_by)
    rest["split_by"].push_back({reason.attributes, reason.slices, reason.spacing_mm});
  // It names each label.
  for (const LabelColumn& label : in.manifest.labels) rest["label_names"].push_back(label.name);
  // Absent where there are none: the cases of such datasets keep their keys.
  if (!in.manifest.continuous.empty())
    rest["continuous"] = numbers_json(in.manifest.continuous_names(), plan.continuous);
  for (const Code flag : plan.flags) rest["flags"].push_back(to_string(flag));
  hash.update(json_text(rest));
  if (may_ask_model(in.segmenter, in.config, plan)) hash.update(in.segmenter->identity());
  return hex(hash.finish());
}

}  // namespace wsp
