#include "io/medical/mask_directory.hpp"

#include <algorithm>
#include <set>

#include "io/core/error.hpp"
#include "io/medical/export_walk.hpp"
#include "io/medical/mask_claims.hpp"
#include "io/medical/mask_names.hpp"

namespace wsp {

namespace fs = std::filesystem;

MaskDirectory::MaskDirectory(const fs::path& root, bool follow_links, const std::string& organ)
    : root_(root), organ_(organ_file_name(organ)) {
  std::error_code ec;
  if (!fs::is_directory(root, ec))
    throw Error(ErrorCode::no_input,
                "the mask directory " + root.string() +
                    " cannot be read; expected a folder of NIfTI or NRRD files");
  std::set<fs::path> with_masks;  // folders that keep images and masks apart
  for (FileEntry& file : list_mask_files(root, follow_links)) {
    if (file.code != Code::USED) {
      others_.push_back(std::move(file));
      continue;
    }
    MaskEntry entry;
    entry.path = root / file.relative_path;
    entry.name = image_path_name(file.relative_path);
    entries_.push_back(std::move(entry));
    for (fs::path at = fs::path(file.relative_path).parent_path(); !at.empty();
         at = at.parent_path())
      if (is_kind(at, {"label", "mask", "seg", "segmentation", "annotation"}))
        with_masks.insert(at.parent_path());
  }
  for (MaskEntry& entry : entries_)
    for (fs::path at = entry.path.lexically_relative(root).parent_path(); !at.empty();
         at = at.parent_path())
      if (with_masks.contains(at.parent_path()) &&
          is_kind(at, {"image", "img", "volume", "ct", "scan"}))
        entry.name.stem.clear();
  std::sort(entries_.begin(), entries_.end(),
            [](const MaskEntry& a, const MaskEntry& b) { return a.path < b.path; });
  // TotalSegmentator: CASE/liver.nii.gz or CASE/segmentations/liver.nii.gz. What else lies there,
  // and whatever has its name anywhere, are other organs and the image: every case has a ct.nii.gz,
  // segmented or not.
  std::set<fs::path> cases;
  for (MaskEntry& entry : entries_) {
    std::vector<std::string> folders = entry.name.folders;
    if (entry.name.stem != organ_ || folders.empty()) continue;
    cases.insert(entry.path.parent_path());
    if (folders.back() == "segmentations" && folders.size() > 1) {
      folders.pop_back();
      cases.insert(entry.path.parent_path().parent_path());
    }
    entry.by_folder = true;
    entry.name.stem = folders.back();
    folders.pop_back();
    entry.name.folders = std::move(folders);
  }
  std::set<std::string> others;
  for (const MaskEntry& entry : entries_)
    if (!entry.by_folder && cases.contains(entry.path.parent_path()))
      others.insert(entry.name.stem);
  for (MaskEntry& entry : entries_)
    if (!entry.by_folder && others.contains(entry.name.stem)) entry.name.stem.clear();
}

MaskDirectory::MaskDirectory(const fs::path& root, const std::vector<MaskRow>& rows, bool others,
                             bool follow_links, const std::string& organ)
    : root_(root), organ_(organ_file_name(organ)) {
  if (others) *this = MaskDirectory(root, follow_links, organ);
  std::set<fs::path> named;
  for (const MaskRow& row : rows) named.insert(fs::weakly_canonical(row.file));
  std::erase_if(entries_, [&](const MaskEntry& entry) {
    return named.contains(fs::weakly_canonical(entry.path));
  });
  for (MaskEntry& entry : entries_) entry.name.stem.clear();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    MaskEntry entry;
    entry.path = rows[i].file;
    entry.volume = rows[i].volume;
    entry.name = image_path_name(entry.volume);
    entry.by_row = true;
    entry.row = i;
    entries_.push_back(std::move(entry));
  }
}

std::vector<MaskMatch> MaskDirectory::match(const Scan& scan) const {
  std::vector<MaskMatch> matches;
  for (const auto& claims : claim_masks(scan, entries_, organ_)) {
    MaskMatch& match = matches.emplace_back();
    std::size_t proven = 0;
    const MaskClaim* doubt = nullptr;  // the best of what others may claim too
    const MaskClaim* own = nullptr;
    for (const MaskClaim& claim : claims) {
      if (claim.problem.empty()) {
        ++proven;
        own = &claim;
      } else {
        entries_[claim.entry].state = State::ambiguous;
        if (doubt == nullptr || claim.rank > doubt->rank) doubt = &claim;
      }
    }
    if (proven > 1) {
      match.problem = std::to_string(proven) + " mask files match this case; keep one";
      for (const MaskClaim& claim : claims) entries_[claim.entry].state = State::ambiguous;
    } else if (doubt != nullptr && (own == nullptr || doubt->rank >= own->rank)) {
      match.problem = doubt->problem;
    } else if (own != nullptr) {
      match.files.push_back(entries_[own->entry].path);
      if (scan.series[matches.size() - 1].code == Code::USED)
        entries_[own->entry].state = State::used;
    }
  }
  return matches;
}

std::vector<std::string> MaskDirectory::with(State state) const {
  std::set<std::string> names;
  for (const MaskEntry& entry : entries_)
    if (entry.state == state) names.insert(entry.path.lexically_relative(root_).generic_string());
  return {names.begin(), names.end()};
}

std::vector<std::string> MaskDirectory::files() const {
  std::set<std::string> names;
  for (const MaskEntry& entry : entries_)
    names.insert(entry.path.lexically_relative(root_).generic_string());
  return {names.begin(), names.end()};
}

std::vector<std::string> MaskDirectory::unused_names() const {
  std::vector<std::string> names;
  for (const MaskEntry& entry : entries_)
    if (entry.state == State::unused && !entry.name.stem.empty())
      names.push_back(to_string(entry.name));
  return names;
}

std::size_t MaskDirectory::elsewhere() const {
  return static_cast<std::size_t>(std::count_if(
      entries_.begin(), entries_.end(),
      [](const MaskEntry& entry) { return entry.state == State::unused && entry.elsewhere; }));
}

std::vector<std::size_t> MaskDirectory::unknown_rows() const {
  std::vector<std::size_t> rows;
  for (const MaskEntry& entry : entries_)
    if (entry.by_row && !entry.known) rows.push_back(entry.row);
  return rows;
}

}  // namespace wsp
