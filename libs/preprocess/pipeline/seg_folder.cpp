#include "preprocess/pipeline/seg_folder.hpp"

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/medical/seg_write.hpp"

namespace wsp {

namespace fs = std::filesystem;

SegFolder::SegFolder(fs::path directory, const fs::path& output, std::string tool_version,
                     bool label_maps)
    : directory_(std::move(directory)),
      tool_version_(std::move(tool_version)),
      label_maps_(label_maps) {
  const fs::path within =
      fs::weakly_canonical(directory_).lexically_relative(fs::weakly_canonical(output));
  if (!within.empty() && *within.begin() != "..")
    throw Error(
        ErrorCode::usage,
        "--write-seg lies in the dataset: its objects name the patients, as the export does; "
        "give a directory beside the export");
  std::error_code ec;
  fs::create_directories(directory_, ec);
  if (ec)
    throw Error(ErrorCode::output, "cannot make " + directory_.string() + ": " + ec.message());
}

fs::path SegFolder::file_of(const CasePlan& plan) const {
  return directory_ / (plan.name + ".dcm");
}

bool SegFolder::holds(const CasePlan& plan) const { return fs::exists(file_of(plan)); }

void SegFolder::keep(const CaseInputs& in, const CasePlan& plan, const JudgedCase& judged) {
  const Series& series = in.scan.series[plan.series];
  if (judged.liver.source != "segmenter" || !series.is_dicom || judged.loaded.files.empty()) return;
  if (holds(plan)) {  // somebody may have corrected it in place
    log::warn("the SEG of case " + plan.name +
              " is there already and is left as it is; move it away to have this run's");
    return;
  }
  const fs::path source = in.scan.root / in.scan.files[judged.loaded.files.front()].relative_path;
  const auto object = seg_object(source, judged.loaded, judged.liver.mask, in.manifest.organ,
                                 {in.segmenter->name(), tool_version_, label_maps_});
  if (!object) {
    log::warn("no SEG of case " + plan.name + ": " + object.rejection().detail);
    return;
  }
  write_file_atomic(file_of(plan), object.value());
  ++written_;
}

}  // namespace wsp
