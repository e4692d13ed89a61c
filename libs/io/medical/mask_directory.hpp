#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "io/core/codes.hpp"
#include "io/medical/mask_entry.hpp"
#include "io/medical/study.hpp"

namespace wsp {

/// One row of a mask table: a volume by its path, or by series, study, accession or patient, and
/// its mask file.
struct MaskRow {
  std::string volume;
  std::filesystem::path file;
};

/// The mask file that names prove to be one series' own.
struct MaskMatch {
  std::vector<std::filesystem::path> files;  ///< at most one
  std::string problem;  ///< why files that could be its mask are not taken; no identifiers
};

/// The files of --masks, and whose they are.
///
/// A file belongs to the volumes that its name fits best, and serves only where that is one volume
/// alone:
///   1. a row of a mask table that names it;
///   2. the key or UID of a series;
///   3. the UID or accession number of a study, or a patient's ID (no placeholder), where it has
///      one volume that could be meant: series that are no volumes (scouts, reformations) do not
///      count, and of several of one study the one on whose grid alone the mask lies is meant;
///   4. the path of a NIfTI or NRRD volume: the same whole stem, in folders that agree
///      (folder_agreement()).
/// By 3 and 4 a file in folders that name somebody serves no volume of whose path, header or export
/// none of those names is known: siteB/001 is not 001's.
/// NAME stands for NAME_seg, NAME-mask, NAME_liver, NAME/liver and so on, "segmentation-N" for
/// "volume-N" as in LiTS, "N" for "N_0000" as in nnU-Net. Beside CASE/liver.nii.gz nothing else of
/// CASE is a mask, nor is imagesTr beside labelsTr.
class MaskDirectory {
 public:
  /// Walk a directory. organ: in place of "liver" in the names above. Throws Error(no_input) when
  /// it cannot be read.
  explicit MaskDirectory(const std::filesystem::path& root, bool follow_links = false,
                         const std::string& organ = "liver");
  /// A mask table: what it says counts, and no name of a file. With `others`, `root` is walked for
  /// the files that no row names. Throws Error(no_input) like the other.
  MaskDirectory(const std::filesystem::path& root, const std::vector<MaskRow>& rows, bool others,
                bool follow_links = false, const std::string& organ = "liver");

  /// Decide for the whole scan, one answer per Scan::series. Not thread-safe.
  [[nodiscard]] std::vector<MaskMatch> match(const Scan& scan) const;

  /// Root-relative paths, sorted, after match(): of files that are nobody's, and of those that
  /// could be several volumes'.
  [[nodiscard]] std::vector<std::string> unused() const { return with(State::unused); }
  [[nodiscard]] std::vector<std::string> ambiguous() const { return with(State::ambiguous); }
  /// The names under which unused files go, for hints.
  [[nodiscard]] std::vector<std::string> unused_names() const;
  /// Files that have a volume's name and lie in the folders of another.
  [[nodiscard]] std::size_t elsewhere() const;
  /// 0-based rows of the table that name no series of the scan.
  [[nodiscard]] std::vector<std::size_t> unknown_rows() const;
  /// Root-relative paths of all.
  [[nodiscard]] std::vector<std::string> files() const;
  /// What else lies there (paths below the root): other files, and what could not be looked into.
  [[nodiscard]] const std::vector<FileEntry>& others() const { return others_; }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }

 private:
  using State = MaskEntry::State;
  [[nodiscard]] std::vector<std::string> with(State state) const;

  std::filesystem::path root_;
  std::string organ_;  ///< as in a file's name: blanks are "_"
  std::vector<MaskEntry> entries_;
  std::vector<FileEntry> others_;
};

}  // namespace wsp
