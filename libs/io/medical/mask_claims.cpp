#include "io/medical/mask_claims.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "io/medical/image_file.hpp"
#include "io/medical/mask_names.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using State = MaskEntry::State;
using Folders = std::vector<std::string>;

// By how sure a name is; folders decide among equals.
constexpr int kByKey = 4'000'000, kBySeries = 3'000'000, kByStudy = 2'000'000,
              kByPatient = 1'000'000;

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

bool has_owner(const Folders& folders, const std::string& owner) {
  return std::any_of(folders.begin(), folders.end(),
                     [&](const std::string& folder) { return folder_owner(folder) == owner; });
}

class ClaimFinder {
 public:
  ClaimFinder(const Scan& scan, const std::vector<MaskEntry>& entries, const std::string& organ)
      : scan_(scan), entries_(entries), owners_(entries.size()) {
    index_names(organ);
    find_images();
    find_folder_owners();
  }

  std::vector<std::vector<MaskClaim>> run() {
    const std::size_t n = scan_.series.size();
    for (std::size_t s = 0; s < n; ++s) claim_for(s);
    claim_for_unreadable();
    std::vector<std::vector<MaskClaim>> found(n);
    for (std::size_t e = 0; e < entries_.size(); ++e) {
      const Best best = best_of(e);
      for (const std::size_t s : best.series)
        if (s < n) found[s].push_back({e, best.rank, best.problem});
    }
    return found;
  }

 private:
  void index_names(const std::string& organ) {
    for (std::size_t e = 0; e < entries_.size(); ++e) {
      const MaskEntry& entry = entries_[e];
      entry.state = State::unused;
      entry.known = entry.elsewhere = false;
      if (entry.name.stem.empty()) continue;
      if (entry.by_row) {
        by_alias_.emplace(entry.name.stem, std::pair(e, true));
        if (!entry.name.folders.empty()) by_alias_.emplace(entry.volume, std::pair(e, true));
      } else {
        for (const Alias& alias : aliases_of(entry.name.stem, organ))
          by_alias_.emplace(alias.text, std::pair(e, alias.whole));
      }
    }
  }

  // A file of the export is no mask of itself. Where it counts as a volume, it is another's mask
  // only by a name that says so: P1_seg, or labels/P1 beside images/P1.
  void find_images() {
    std::multimap<fs::path, std::size_t> by_path_on_disk;
    for (std::size_t e = 0; e < entries_.size(); ++e)
      by_path_on_disk.emplace(fs::weakly_canonical(entries_[e].path), e);
    const std::size_t n = scan_.series.size();
    own_series_.assign(entries_.size(), n);
    for (std::size_t s = 0; s < n; ++s) {
      const Series& series = scan_.series[s];
      if (series.is_dicom) continue;
      const auto [begin, end] =
          by_path_on_disk.equal_range(fs::weakly_canonical(scan_.root / series.relative_path));
      for (auto it = begin; it != end; ++it) {
        own_series_[it->second] = s;
        if (series.code == Code::USED) entries_[it->second].state = State::image;
      }
    }
  }

  void find_folder_owners() {
    for (const Series& series : scan_.series)
      for (const std::string& folder : path_name(series.relative_path).folders)
        export_owners_.insert(folder_owner(folder));
    export_owners_.erase("");
    for (const fs::path& folder : fs::weakly_canonical(scan_.root))
      above_.insert(folder_owner(folder.string()));
  }

  // A file in a folder of the export that holds other volumes than this one, whose own are `its`.
  [[nodiscard]] bool is_of_others(const MaskEntry& entry, const Folders& its) const {
    if (entry.by_row) return false;
    return std::any_of(entry.name.folders.begin(), entry.name.folders.end(),
                       [&](const std::string& folder) {
                         const std::string owner = folder_owner(folder);
                         return export_owners_.contains(owner) && !has_owner(its, owner);
                       });
  }

  // A file in folders that name somebody, and nobody of whom the volume's path or header speaks.
  [[nodiscard]] bool is_of_strangers(const MaskEntry& entry, const Folders& its,
                                     const Series* header) const {
    if (entry.by_row) return false;
    bool named = false;
    for (const std::string& folder : entry.name.folders) {
      const std::string owner = folder_owner(folder);
      if (owner.empty() || is_split(owner)) continue;
      named = true;
      if (above_.contains(owner) || has_owner(its, owner)) return false;
      if (header != nullptr)
        for (const std::string& id : {header->patient_id, header->accession, header->study_uid})
          if (folder == id) return false;
    }
    return named;
  }

  void claim(std::size_t e, std::size_t s, int rank, bool counts) {
    entries_[e].known = true;
    if (!counts) return;
    int& best = owners_[e][s];
    best = std::max(best, rank);
  }

  void claim_by_identifier(std::size_t s, const std::string& id, int rank, bool folders_count) {
    if (id.empty()) return;
    const Folders its = path_name(scan_.series[s].relative_path).folders;
    const auto [begin, end] = by_alias_.equal_range(id);
    for (auto it = begin; it != end; ++it) {
      const MaskEntry& entry = entries_[it->second.first];
      if (entry.by_row && entry.volume != id) continue;
      if (folders_count &&
          (is_of_others(entry, its) || is_of_strangers(entry, its, &scan_.series[s]))) {
        entry.elsewhere = true;
        continue;
      }
      const Folders& folders = entry.name.folders;
      const bool shared =
          folders_count && std::any_of(its.begin(), its.end(), [&](const std::string& f) {
            return !folder_owner(f).empty() &&
                   std::find(folders.begin(), folders.end(), f) != folders.end();
          });
      claim(it->second.first, s, rank + (shared ? 1 : 0), may_be_meant(scan_.series[s]));
    }
  }

  // folder_form: only files such as NAME/liver.
  void claim_by_path(std::size_t s, const PathName& name, bool folder_form, bool counts) {
    const auto [begin, end] = by_alias_.equal_range(name.stem);
    for (auto it = begin; it != end; ++it) {
      const auto& [e, whole] = it->second;
      const MaskEntry& entry = entries_[e];
      if (folder_form && !entry.by_folder) continue;
      const int agreement = folder_agreement(entry.name.folders, name.folders);
      if (own_series_[e] == s) continue;
      if (entry.state == State::image && whole && !entry.by_row && !entry.by_folder &&
          agreement < kSameOwners)
        continue;
      if (agreement == 0 || is_of_others(entry, name.folders) ||
          is_of_strangers(entry, name.folders, nullptr))
        entry.elsewhere = true;
      else
        claim(e, s, 2 * agreement + (whole ? 1 : 0), counts);
    }
  }

  void claim_by_paths(std::size_t s, const std::string& relative, bool counts) {
    PathName name = image_path_name(relative);
    for (const PathName& one : volume_names(name)) claim_by_path(s, one, false, counts);
    if (name.folders.empty()) return;
    std::string folder = std::move(name.folders.back());
    name.folders.pop_back();
    claim_by_path(s, {std::move(name.folders), std::move(folder)}, true, counts);
  }

  void claim_for(std::size_t s) {
    const Series& series = scan_.series[s];
    if (!series.is_dicom) return claim_by_paths(s, series.relative_path, may_be_meant(series));
    // A part of a series may go by its UID, and the file's maker have meant another part.
    if (series.key != series.series_uid) claim_by_identifier(s, series.key, kByKey, false);
    claim_by_identifier(s, series.series_uid, kBySeries, false);
    claim_by_identifier(s, series.study_uid, kByStudy, false);
    if (!is_placeholder_id(series.accession))
      claim_by_identifier(s, series.accession, kByStudy, true);
    if (!is_placeholder_id(series.patient_id))
      claim_by_identifier(s, series.patient_id, kByPatient, true);
    // Only a table says "the series in this folder".
    const PathName folder =
        path_name(fs::path(series.relative_path).parent_path().generic_string());
    const auto [begin, end] = by_alias_.equal_range(folder.stem);
    for (auto it = begin; it != end; ++it)
      if (const MaskEntry& entry = entries_[it->second.first];
          entry.by_row && entry.name.folders == folder.folders)
        claim(it->second.first, s, kByStudy, may_be_meant(series));
  }

  // Volumes that cannot be read are volumes all the same: they count behind the series.
  void claim_for_unreadable() {
    std::vector<bool> in_series(scan_.files.size(), false);
    for (const Series& series : scan_.series)
      for (const Plane& plane : series.planes)
        if (plane.file < in_series.size()) in_series[plane.file] = true;
    for (std::size_t f = 0; f < scan_.files.size(); ++f)
      if (!in_series[f] && info(scan_.files[f].code).kind == CodeKind::rejected &&
          is_image_file_name(scan_.files[f].relative_path))
        claim_by_paths(scan_.series.size() + f, scan_.files[f].relative_path, true);
  }

  struct Best {
    int rank = 0;
    std::vector<std::size_t> series;
    std::string problem;
  };

  // Whom a file's best name fits, and what keeps it from being one series' own.
  [[nodiscard]] Best best_of(std::size_t e) const {
    Best best;
    for (const auto& [s, rank] : owners_[e]) best.rank = std::max(best.rank, rank);
    for (const auto& [s, rank] : owners_[e])
      if (rank == best.rank) best.series.push_back(s);
    if (best.series.size() < 2) return best;
    const bool one_study = are_of_one_study(best.series);
    if (const auto own = one_study ? on_whose_grid(e, best.series) : std::nullopt) {
      best.series = {*own};
      return best;
    }
    const std::size_t first = best.series.front();
    const bool dicom = first < scan_.series.size() && scan_.series[first].is_dicom;
    best.problem = "the name of a mask file fits " + std::to_string(best.series.size()) +
                   (one_study ? " series of one study, and its grid does not tell which"
                    : dicom   ? " series of several studies or patients"
                              : " volumes in different folders") +
                   "; name the file by the series' UID or by its volume's path, or say it with "
                   "--masks-table";
    return best;
  }

  [[nodiscard]] bool are_of_one_study(const std::vector<std::size_t>& members) const {
    if (members.front() >= scan_.series.size()) return false;
    const Series& first = scan_.series[members.front()];
    return std::all_of(members.begin(), members.end(), [&](std::size_t s) {
      if (s >= scan_.series.size()) return false;
      const Series& other = scan_.series[s];
      return other.is_dicom && !other.study_uid.empty() && other.study_uid == first.study_uid &&
             other.patient_id == first.patient_id && other.issuer == first.issuer;
    });
  }

  // The one series on whose grid the file lies.
  [[nodiscard]] std::optional<std::size_t> on_whose_grid(
      std::size_t e, const std::vector<std::size_t>& members) const {
    const auto header = read_image_header(entries_[e].path);
    if (!header) return std::nullopt;
    std::optional<std::size_t> found;
    for (const std::size_t s : members) {
      if (!lies_on_grid(header.value().geometry, scan_.series[s])) continue;
      if (found) return std::nullopt;
      found = s;
    }
    return found;
  }

  const Scan& scan_;
  const std::vector<MaskEntry>& entries_;
  std::multimap<std::string, std::pair<std::size_t, bool>, std::less<>>
      by_alias_;                         // -> entry, and whether it is the whole name
  std::vector<std::size_t> own_series_;  // of each entry that is a volume itself
  std::set<std::string> export_owners_;  // whom the export's folders name
  std::set<std::string> above_;          // whom the folders name in which the export lies
  std::vector<std::map<std::size_t, int>> owners_;  // of each entry: series -> rank
};

}  // namespace

std::vector<std::vector<MaskClaim>> claim_masks(const Scan& scan,
                                                const std::vector<MaskEntry>& entries,
                                                const std::string& organ) {
  return ClaimFinder(scan, entries, organ).run();
}

}  // namespace wsp
