#pragma once
#include <gtest/gtest.h>

#include <fstream>

#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "support/test_data.hpp"

/// An export and a folder of masks that have names alone.
namespace wsp::test {

namespace fs = std::filesystem;

class MaskNames : public testing::Test {
 protected:
  void touch(const std::string& name) const {
    fs::create_directories((here_.path() / name).parent_path());
    std::ofstream(here_.path() / name) << "x";
  }
  [[nodiscard]] MaskDirectory with(const std::vector<std::string>& names) const {
    fs::remove_all(here_.path());
    fs::create_directories(here_.path());
    for (const std::string& name : names) touch(name);
    return MaskDirectory(here_.path());
  }
  // What every series of an export gets: its file, or "ambiguous".
  [[nodiscard]] std::vector<std::string> found(const MaskDirectory& masks,
                                               std::vector<Series> series) const {
    Scan scan;
    scan.root = "/export";
    for (Series& one : series) {
      FileEntry file;
      file.relative_path = one.relative_path;
      file.code = one.code;
      scan.files.push_back(file);
      for (Plane& plane : one.planes) plane.file = scan.files.size() - 1;
      if (one.planes.empty()) {
        Plane plane;
        plane.file = scan.files.size() - 1;
        one.planes.push_back(plane);
      }
    }
    scan.series = std::move(series);
    std::vector<std::string> texts;
    for (const MaskMatch& match : masks.match(scan)) {
      std::string text = match.problem.empty() ? "" : "ambiguous";
      for (const fs::path& path : match.files)
        text += fs::relative(path, here_.path()).generic_string();
      texts.push_back(text);
    }
    return texts;
  }
  [[nodiscard]] std::string found(const MaskDirectory& masks, const Series& series) const {
    return found(masks, std::vector<Series>{series}).front();
  }
  using Texts = std::vector<std::string>;
  static Series dicom(const std::string& series_uid, const std::string& patient) {
    Series s;
    s.series_uid = s.key = series_uid;
    s.patient_id = patient;
    s.relative_path = "a/b/IM0001";
    return s;
  }
  static Series dicom(const std::string& series_uid, const std::string& patient,
                      const std::string& study, const std::string& path = "a/b/IM0001") {
    Series s = dicom(series_uid, patient);
    s.study_uid = study;
    s.relative_path = path;
    return s;
  }
  static Series nifti(const std::string& path) {
    Series s;
    s.is_dicom = false;
    s.key = s.relative_path = path;
    return s;
  }
  test::TemporaryDirectory here_;
};

}  // namespace wsp::test
