#include "io/medical/mask_directory.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <set>

#include "io/core/error.hpp"
#include "io/medical/export_walk.hpp"
#include "io/medical/image_file.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// By how sure a name is; folders decide among equals.
constexpr int kByKey = 4'000'000, kBySeries = 3'000'000, kByStudy = 2'000'000,
              kByPatient = 1'000'000;

// A name that a file may go by, and whether it is the whole one.
struct Alias {
  std::string text;
  bool whole = true;
};

std::string file_name_of(std::string organ) {
  std::replace(organ.begin(), organ.end(), ' ', '_');
  return organ;
}

std::vector<Alias> aliases_of(const std::string& stem, const std::string& organ) {
  std::vector<Alias> aliases{{stem, true}};
  for (const std::string& end : {std::string("_seg"), std::string("_mask"), "_" + organ,
                                 std::string("-seg"), std::string("-mask")})
    if (stem.size() > end.size() && stem.ends_with(end))
      aliases.push_back({stem.substr(0, stem.size() - end.size()), false});
  constexpr std::string_view kLits = "segmentation-";
  if (stem.size() > kLits.size() && stem.starts_with(kLits)) {
    aliases.push_back({"volume-" + stem.substr(kLits.size()), false});
    aliases.push_back({stem.substr(kLits.size()), false});
  }
  return aliases;
}

PathName name_of(const fs::path& relative) {
  return path_name((relative.parent_path() / image_stem(relative)).generic_string());
}

// A folder of one kind, as in imagesTr beside labelsTr.
bool is_kind(const fs::path& folder, std::initializer_list<std::string_view> kinds) {
  std::string word;
  for (const char c : folder.filename().string())
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const std::string_view end : {"tr", "ts", "va"})
    if (word.size() > 2 && word.ends_with(end)) word.resize(word.size() - 2);
  if (word.ends_with('s')) word.pop_back();
  return std::find(kinds.begin(), kinds.end(), word) != kinds.end();
}

// Parts into which a data set was divided, and nobody's name.
bool is_split(const std::string& owner) {
  return std::set<std::string_view>{"tr",  "ts",         "va",       "train",  "test",
                                    "val", "validation", "training", "testing"}
      .contains(owner);
}

// A volume that a patient's or a study's mask may have been drawn on.
bool may_be_meant(const Series& series) {
  if (series.code == Code::USED) return true;
  if (info(series.code).kind != CodeKind::rejected) return false;
  return !series.is_dicom || (series.code != Code::TOO_FEW_SLICES &&
                              series.code != Code::NOT_AXIAL && series.code != Code::NO_POSITION);
}

// Whether the file's grid is the series', in whatever order and direction of axes.
bool lies_on_grid(const Geometry& file, const Series& series) {
  if (series.planes.empty()) return false;
  std::array<std::int64_t, 3> sizes = file.size;
  std::array<std::int64_t, 3> wanted{series.columns, series.rows,
                                     static_cast<std::int64_t>(series.planes.size())};
  std::sort(sizes.begin(), sizes.end());
  std::sort(wanted.begin(), wanted.end());
  if (sizes != wanted) return false;
  for (const Plane* plane : {&series.planes.front(), &series.planes.back()})
    for (const std::int64_t x : {std::int64_t{0}, series.columns - 1})
      for (const std::int64_t y : {std::int64_t{0}, series.rows - 1}) {
        const Vec3 corner = plane->position_mm +
                            (static_cast<double>(x) * series.pixel_x_mm) * series.row_axis +
                            (static_cast<double>(y) * series.pixel_y_mm) * series.column_axis;
        const Vec3 at = file.index(corner);
        for (std::size_t k = 0; k < 3; ++k)
          if (std::min(std::abs(at[k]), std::abs(at[k] - static_cast<double>(file.size[k] - 1))) >
              0.1)
            return false;
      }
  return true;
}

}  // namespace

struct MaskDirectory::Claim {
  std::size_t entry = 0;
  int rank = 0;
  std::string problem;  // why it is not the series' alone
};

MaskDirectory::MaskDirectory(const fs::path& root, bool follow_links, const std::string& organ)
    : root_(root), organ_(file_name_of(organ)) {
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
    Entry entry;
    entry.path = root / file.relative_path;
    entry.name = name_of(file.relative_path);
    entries_.push_back(std::move(entry));
    for (fs::path at = fs::path(file.relative_path).parent_path(); !at.empty();
         at = at.parent_path())
      if (is_kind(at, {"label", "mask", "seg", "segmentation", "annotation"}))
        with_masks.insert(at.parent_path());
  }
  for (Entry& entry : entries_)
    for (fs::path at = entry.path.lexically_relative(root).parent_path(); !at.empty();
         at = at.parent_path())
      if (with_masks.contains(at.parent_path()) &&
          is_kind(at, {"image", "img", "volume", "ct", "scan"}))
        entry.name.stem.clear();
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.path < b.path; });
  // TotalSegmentator: CASE/liver.nii.gz or CASE/segmentations/liver.nii.gz. What else lies there,
  // and whatever has its name anywhere, are other organs and the image: every case has a ct.nii.gz,
  // segmented or not.
  std::set<fs::path> cases;
  for (Entry& entry : entries_) {
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
  for (const Entry& entry : entries_)
    if (!entry.by_folder && cases.contains(entry.path.parent_path()))
      others.insert(entry.name.stem);
  for (Entry& entry : entries_)
    if (!entry.by_folder && others.contains(entry.name.stem)) entry.name.stem.clear();
}

MaskDirectory::MaskDirectory(const fs::path& root, const std::vector<MaskRow>& rows, bool others,
                             bool follow_links, const std::string& organ)
    : root_(root), organ_(file_name_of(organ)) {
  if (others) *this = MaskDirectory(root, follow_links, organ);
  std::set<fs::path> named;
  for (const MaskRow& row : rows) named.insert(fs::weakly_canonical(row.file));
  std::erase_if(entries_, [&](const Entry& entry) {
    return named.contains(fs::weakly_canonical(entry.path));
  });
  for (Entry& entry : entries_) entry.name.stem.clear();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Entry entry;
    entry.path = rows[i].file;
    entry.volume = rows[i].volume;
    entry.name = name_of(entry.volume);
    entry.by_row = true;
    entry.row = i;
    entries_.push_back(std::move(entry));
  }
}

// Every series that an entry may belong to, by the best of its names only.
std::vector<std::vector<MaskDirectory::Claim>> MaskDirectory::claims(const Scan& scan) const {
  std::multimap<std::string, std::pair<std::size_t, bool>, std::less<>> by_alias;
  std::multimap<fs::path, std::size_t> by_path_on_disk;
  for (std::size_t e = 0; e < entries_.size(); ++e) {
    const Entry& entry = entries_[e];
    by_path_on_disk.emplace(fs::weakly_canonical(entry.path), e);
    entry.state = State::unused;
    entry.known = entry.elsewhere = false;
    if (entry.name.stem.empty()) continue;
    if (entry.by_row) {
      by_alias.emplace(entry.name.stem, std::pair(e, true));
      if (!entry.name.folders.empty()) by_alias.emplace(entry.volume, std::pair(e, true));
    } else
      for (const Alias& alias : aliases_of(entry.name.stem, organ_))
        by_alias.emplace(alias.text, std::pair(e, alias.whole));
  }

  // A file of the export is no mask of itself. Where it counts as a volume, it is another's mask
  // only by a name that says so: P1_seg, or labels/P1 beside images/P1.
  const std::size_t n = scan.series.size();
  std::vector<std::size_t> own_series(entries_.size(), n);
  for (std::size_t s = 0; s < n; ++s) {
    if (scan.series[s].is_dicom) continue;
    const auto [begin, end] =
        by_path_on_disk.equal_range(fs::weakly_canonical(scan.root / scan.series[s].relative_path));
    for (auto it = begin; it != end; ++it) {
      own_series[it->second] = s;
      if (scan.series[s].code == Code::USED) entries_[it->second].state = State::image;
    }
  }
  std::vector<std::map<std::size_t, int>> owners(entries_.size());  // series -> rank
  // Folders of the export, as a mask's folder may be one that holds other patients; and those in
  // which the export itself lies.
  std::set<std::string> export_owners;
  for (const Series& series : scan.series)
    for (const std::string& folder : path_name(series.relative_path).folders)
      export_owners.insert(folder_owner(folder));
  export_owners.erase("");
  std::set<std::string> above;
  for (const fs::path& folder : fs::weakly_canonical(scan.root))
    above.insert(folder_owner(folder.string()));

  const auto claim = [&](std::size_t e, std::size_t s, int rank, bool counts) {
    entries_[e].known = true;
    if (!counts) return;
    int& best = owners[e][s];
    best = std::max(best, rank);
  };
  const auto in = [](const std::vector<std::string>& all, const std::string& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
  };
  // A file in a folder of the export that holds other volumes than this one.
  const auto of_others = [&](const Entry& entry, const std::vector<std::string>& its) {
    return !entry.by_row &&
           std::any_of(entry.name.folders.begin(), entry.name.folders.end(),
                       [&](const std::string& f) {
                         const std::string owner = folder_owner(f);
                         return export_owners.contains(owner) &&
                                std::none_of(its.begin(), its.end(), [&](const std::string& own) {
                                  return folder_owner(own) == owner;
                                });
                       });
  };
  // A file in folders that name somebody, and nobody of whom the volume's path or header speaks.
  const auto of_strangers = [&](const Entry& entry, const std::vector<std::string>& its,
                                const Series* header) {
    if (entry.by_row) return false;
    bool named = false;
    for (const std::string& folder : entry.name.folders) {
      const std::string owner = folder_owner(folder);
      if (owner.empty() || is_split(owner)) continue;
      named = true;
      if (above.contains(owner) || std::any_of(its.begin(), its.end(), [&](const std::string& own) {
            return folder_owner(own) == owner;
          }))
        return false;
      if (header != nullptr)
        for (const std::string& id : {header->patient_id, header->accession, header->study_uid})
          if (folder == id) return false;
    }
    return named;
  };
  const auto by_identifier = [&](std::size_t s, const std::string& id, int rank,
                                 bool folders_count) {
    if (id.empty()) return;
    const std::vector<std::string> its = path_name(scan.series[s].relative_path).folders;
    const auto [begin, end] = by_alias.equal_range(id);
    for (auto it = begin; it != end; ++it) {
      const Entry& entry = entries_[it->second.first];
      if (entry.by_row && entry.volume != id) continue;
      if (folders_count && (of_others(entry, its) || of_strangers(entry, its, &scan.series[s]))) {
        entry.elsewhere = true;
        continue;
      }
      const bool shared = folders_count && std::any_of(its.begin(), its.end(), [&](const auto& f) {
                            return !folder_owner(f).empty() && in(entry.name.folders, f);
                          });
      claim(it->second.first, s, rank + (shared ? 1 : 0), may_be_meant(scan.series[s]));
    }
  };
  const auto by_path = [&](std::size_t s, const PathName& name, bool folder_form, bool counts) {
    const auto [begin, end] = by_alias.equal_range(name.stem);
    for (auto it = begin; it != end; ++it) {
      const auto& [e, whole] = it->second;
      const Entry& entry = entries_[e];
      if (folder_form && !entry.by_folder) continue;
      const int agreement = folder_agreement(entry.name.folders, name.folders);
      if (own_series[e] == s) continue;
      if (entry.state == State::image && whole && !entry.by_row && !entry.by_folder &&
          agreement < kSameOwners)
        continue;
      if (agreement == 0 || of_others(entry, name.folders) ||
          of_strangers(entry, name.folders, nullptr))
        entry.elsewhere = true;
      else
        claim(e, s, 2 * agreement + (whole ? 1 : 0), counts);
    }
  };
  const auto all_paths = [&](std::size_t s, const std::string& relative, bool counts) {
    PathName name = name_of(relative);
    for (const PathName& one : volume_names(name)) by_path(s, one, false, counts);
    if (name.folders.empty()) return;
    std::string folder = std::move(name.folders.back());
    name.folders.pop_back();
    by_path(s, {std::move(name.folders), std::move(folder)}, true, counts);
  };

  std::vector<bool> in_series(scan.files.size(), false);
  for (std::size_t s = 0; s < n; ++s) {
    const Series& series = scan.series[s];
    for (const Plane& plane : series.planes)
      if (plane.file < in_series.size()) in_series[plane.file] = true;
    if (!series.is_dicom) {
      all_paths(s, series.relative_path, may_be_meant(series));
      continue;
    }
    // A part of a series may go by its UID, and the file's maker have meant another part.
    if (series.key != series.series_uid) by_identifier(s, series.key, kByKey, false);
    by_identifier(s, series.series_uid, kBySeries, false);
    by_identifier(s, series.study_uid, kByStudy, false);
    if (!is_placeholder_id(series.accession)) by_identifier(s, series.accession, kByStudy, true);
    if (!is_placeholder_id(series.patient_id))
      by_identifier(s, series.patient_id, kByPatient, true);
    // Only a table says "the series in this folder".
    PathName folder = path_name(fs::path(series.relative_path).parent_path().generic_string());
    const auto [begin, end] = by_alias.equal_range(folder.stem);
    for (auto it = begin; it != end; ++it)
      if (entries_[it->second.first].by_row &&
          entries_[it->second.first].name.folders == folder.folders)
        claim(it->second.first, s, kByStudy, may_be_meant(series));
  }
  // Volumes that cannot be read are volumes all the same.
  for (std::size_t f = 0; f < scan.files.size(); ++f)
    if (!in_series[f] && info(scan.files[f].code).kind == CodeKind::rejected &&
        is_image_file_name(scan.files[f].relative_path))
      all_paths(n + f, scan.files[f].relative_path, true);

  std::vector<std::vector<Claim>> found(n);
  for (std::size_t e = 0; e < entries_.size(); ++e) {
    int best = 0;
    for (const auto& [s, rank] : owners[e]) best = std::max(best, rank);
    std::vector<std::size_t> fitting;
    for (const auto& [s, rank] : owners[e])
      if (rank == best) fitting.push_back(s);
    std::string problem;
    if (fitting.size() > 1) {
      const auto series = [&](std::size_t s) { return s < n ? &scan.series[s] : nullptr; };
      const Series* first = series(fitting.front());
      const bool one_study = std::all_of(fitting.begin(), fitting.end(), [&](std::size_t s) {
        const Series* other = series(s);
        return first != nullptr && other != nullptr && other->is_dicom &&
               !other->study_uid.empty() && other->study_uid == first->study_uid &&
               other->patient_id == first->patient_id && other->issuer == first->issuer;
      });
      std::vector<std::size_t> on_grid;
      if (one_study)
        if (const auto header = read_image_header(entries_[e].path))
          for (const std::size_t s : fitting)
            if (lies_on_grid(header.value().geometry, scan.series[s])) on_grid.push_back(s);
      if (on_grid.size() == 1)
        fitting = std::move(on_grid);
      else
        problem = "the name of a mask file fits " + std::to_string(fitting.size()) +
                  (one_study ? " series of one study, and its grid does not tell which"
                   : first != nullptr && first->is_dicom ? " series of several studies or patients"
                                                         : " volumes in different folders") +
                  "; name the file by the series' UID or by its volume's path, or say it with "
                  "--masks-table";
    }
    for (const std::size_t s : fitting)
      if (s < n) found[s].push_back({e, best, problem});
  }
  return found;
}

std::vector<MaskMatch> MaskDirectory::match(const Scan& scan) const {
  std::vector<MaskMatch> matches;
  for (const auto& claims : claims(scan)) {
    MaskMatch& match = matches.emplace_back();
    std::size_t proven = 0;
    const Claim* doubt = nullptr;  // the best of what others may claim too
    const Claim* own = nullptr;
    for (const Claim& claim : claims) {
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
      for (const Claim& claim : claims) entries_[claim.entry].state = State::ambiguous;
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
  for (const Entry& entry : entries_)
    if (entry.state == state) names.insert(entry.path.lexically_relative(root_).generic_string());
  return {names.begin(), names.end()};
}

std::vector<std::string> MaskDirectory::files() const {
  std::set<std::string> names;
  for (const Entry& entry : entries_)
    names.insert(entry.path.lexically_relative(root_).generic_string());
  return {names.begin(), names.end()};
}

std::vector<std::string> MaskDirectory::unused_names() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_)
    if (entry.state == State::unused && !entry.name.stem.empty())
      names.push_back(to_string(entry.name));
  return names;
}

std::size_t MaskDirectory::elsewhere() const {
  return static_cast<std::size_t>(std::count_if(
      entries_.begin(), entries_.end(),
      [](const Entry& entry) { return entry.state == State::unused && entry.elsewhere; }));
}

std::vector<std::size_t> MaskDirectory::unknown_rows() const {
  std::vector<std::size_t> rows;
  for (const Entry& entry : entries_)
    if (entry.by_row && !entry.known) rows.push_back(entry.row);
  return rows;
}

}  // namespace wsp
