#pragma once
#include <atomic>
#include <filesystem>
#include <string>

#include "preprocess/pipeline/case_work.hpp"

namespace wsp {

/// Where the model's masks go as DICOM SEG objects, one CASE.dcm each, for radiologists to correct.
/// They hold the patient's identity, as the export does, and are no part of the dataset.
class SegFolder {
 public:
  /// Make the directory. Throws Error: usage where it lies in the dataset `output`, output.
  SegFolder(std::filesystem::path directory, const std::filesystem::path& output,
            std::string tool_version, bool label_maps);
  [[nodiscard]] bool holds(const CasePlan& plan) const;
  /// Write the mask where it is the model's and the case is of DICOM. An object that is there
  /// stays, and is warned of by name, as a case is of which no SEG can be made. Thread-safe. Throws
  /// Error(output).
  void keep(const CaseInputs& inputs, const CasePlan& plan, const JudgedCase& judged);
  [[nodiscard]] std::size_t written() const { return written_; }

 private:
  [[nodiscard]] std::filesystem::path file_of(const CasePlan& plan) const;
  std::filesystem::path directory_;
  std::string tool_version_;
  bool label_maps_;
  std::atomic<std::size_t> written_{0};
};

}  // namespace wsp
