#include "preprocess/pipeline/scan_report.hpp"

#include <fmt/format.h>

#include <map>
#include <set>
#include <vector>

#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "io/core/printable.hpp"
#include "io/core/progress.hpp"
#include "preprocess/pipeline/ledger.hpp"
#include "preprocess/pipeline/mask_place.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {
namespace {

/// A name as JSON can hold it; two names stay two.
std::string readable(const std::string& name) { return is_utf8(name) ? name : printable(name); }

nlohmann::json describe_file(const std::string& path, Code code, const std::string& detail) {
  return {{"path", readable(path)}, {"code", to_string(code)}, {"detail", detail}};
}

nlohmann::json describe(const Series& s, const SeriesChoice& choice) {
  nlohmann::json reasons = nlohmann::json::array();
  for (const ScoreReason& r : s.reasons)
    reasons.push_back({{"criterion", r.criterion}, {"points", r.points}, {"why", r.why}});
  if (choice.score != s.score)
    reasons.push_back(
        {{"criterion", "mask"}, {"points", choice.score - s.score}, {"why", "has a mask"}});
  nlohmann::json gaps = nlohmann::json::array();
  for (const std::size_t k : s.missing_after)
    if (k < s.gaps_mm.size()) gaps.push_back({{"after_slice", k}, {"distance_mm", s.gaps_mm[k]}});
  nlohmann::json split = nlohmann::json::array();
  for (const SplitReason& reason : s.split_by)
    split.push_back({{"attributes", reason.attributes},
                     {"slices", reason.slices},
                     {"spacing_mm", reason.spacing_mm}});
  nlohmann::json flags = nlohmann::json::array();
  for (const Code flag : s.flags) flags.push_back(to_string(flag));
  nlohmann::json series{{"key", readable(s.key)},
                        {"path", readable(s.relative_path)},
                        {"kind", s.is_dicom ? "dicom" : "image"},
                        {"planes", s.planes.size()},
                        {"size", {s.columns, s.rows, s.planes.size()}},
                        {"spacing_mm", {s.pixel_x_mm, s.pixel_y_mm, s.spacing_mm}},
                        {"thickness_mm", s.thickness_mm},
                        {"normal", s.normal},
                        {"tilt_deg", s.tilt_deg},
                        {"gaps", gaps},
                        {"distances_mm", s.gaps_mm},
                        {"irregular", s.irregular},
                        {"transfer_syntax", s.transfer_syntax},
                        {"phase", to_string(s.phase)},
                        {"score", choice.score},
                        {"chosen", choice.chosen},
                        {"pinned", choice.pinned},
                        {"reasons", reasons},
                        {"disposition", to_string(s.code)},
                        {"detail", s.detail},
                        {"flags", flags},
                        {"split_by", split}};
  if (!s.planes.empty()) series["z_range_mm"] = {s.planes.front().z_mm, s.planes.back().z_mm};
  return series;
}

constexpr std::size_t kColumns = 80;
constexpr const char* kIndent = "    ";

/// Items, a comma between them, in lines of at most kColumns where the items allow it.
std::string listed(const std::string& head, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string text, line = kIndent + head;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item = items[i] + (i + 1 < items.size() ? "," : "");
    if (line.size() + 1 + item.size() > kColumns) {
      text += line + '\n';
      line = std::string(kIndent) + kIndent + item;
    } else {
      line += ' ' + item;
    }
  }
  return text + line + '\n';
}

std::vector<std::string> words(const nlohmann::json& list) {
  std::vector<std::string> all;
  for (const auto& word : list) all.push_back(word.get<std::string>());
  return all;
}

std::string file_lines(const nlohmann::json& files) {
  std::string text;
  for (const auto& f : files) {
    std::string line = fmt::format("  {:<20} {}", f["code"].get<std::string>(),
                                   printable(f["path"].get<std::string>()));
    if (const std::string detail = printable(f["detail"].get<std::string>()); !detail.empty())
      line += line.size() + 2 + detail.size() > kColumns ? fmt::format("\n  {:<20} {}", "", detail)
                                                         : "  " + detail;
    text += line + '\n';
  }
  return text;
}

}  // namespace

nlohmann::json scan_report(const Scan& scan, const IngestPlan& plan, bool pixels,
                           const MaskDirectory* masks) {
  std::vector<nlohmann::json> series(scan.series.size());
  std::vector<bool> in_series(scan.files.size(), false);
  for (std::size_t i = 0; i < scan.series.size(); ++i) {
    series[i] = describe(scan.series[i], plan.series[i]);
    for (const std::size_t file : source_files(scan.series[i])) in_series[file] = true;
  }
  if (pixels) {
    Progress progress("reading pixels", scan.series.size(), "series");
    wsp::parallel_loop(std::size_t{0}, scan.series.size(), [&](std::size_t i) {
      stop_if_interrupted("nothing was written; run the same command again");
      if (!scan.series[i].planes.empty() && scan.series[i].code != Code::TOO_LARGE) {
        const auto read = measure_series(scan, scan.series[i]);
        if (read)
          series[i]["pixels"] = {{"minimum_hu", read.value().minimum},
                                 {"maximum_hu", read.value().maximum},
                                 {"sum_hu", read.value().sum},
                                 {"padding_voxels", read.value().padding_voxels}};
        else
          series[i]["pixels"] = {{"code", to_string(read.rejection().code)},
                                 {"detail", read.rejection().detail}};
      }
      progress.advance();
    });
  }
  // As for series, USED means usable: whether a liver is inside shows when it is read.
  std::map<std::size_t, std::size_t> referred;  // file of a mask -> how many series it refers to
  const MaskPlaces places = place_masks(scan);
  for (std::size_t i = 0; i < scan.series.size(); ++i) {
    series[i]["mask_objects"] = places.of_series[i].size();
    for (const std::size_t m : places.of_series[i]) ++referred[scan.masks[m].file];
  }
  std::set<std::size_t> ambiguous;
  for (const std::size_t m : places.ambiguous) ambiguous.insert(scan.masks[m].file);
  nlohmann::json files = nlohmann::json::array();
  std::map<std::string, std::size_t> codes;
  for (std::size_t i = 0; i < scan.files.size(); ++i) {
    FileEntry file = scan.files[i];
    if (const auto hit = referred.find(i); hit != referred.end()) {
      file.code = Code::USED_AS_MASK;
      file.detail = "refers to " + std::to_string(hit->second) + " series here";
    }
    if (ambiguous.contains(i)) file.code = Code::MASK_AMBIGUOUS;
    ++codes[std::string(to_string(file.code))];
    if (!in_series[i]) files.push_back(describe_file(file.relative_path, file.code, file.detail));
  }
  nlohmann::json mask_files = nlohmann::json::array();
  auto seen = codes;
  if (masks != nullptr)
    for (const FileEntry& file : masks->others()) {
      mask_files.push_back(describe_file(file.relative_path, file.code, file.detail));
      ++seen[std::string(to_string(file.code))];
    }
  return {{"series", series},         {"files", files},
          {"codes", codes},           {"file_count", scan.files.size()},
          {"mask_files", mask_files}, {"unseen", unseen_files(seen)}};
}

std::string to_text(const nlohmann::json& report) {
  std::string text;
  for (const auto& s : report["series"]) {
    const auto& size = s["size"];
    const auto& spacing = s["spacing_mm"];
    const auto& normal = s["normal"];
    text += fmt::format("{}  {}x{}x{}  {:.4g} x {:.4g} x {:.4g} mm  phase {}  score {:.1f}{}{}\n",
                        s["disposition"].get<std::string>(), size[0].get<int>(), size[1].get<int>(),
                        size[2].get<int>(), spacing[0].get<double>(), spacing[1].get<double>(),
                        spacing[2].get<double>(), s["phase"].get<std::string>(),
                        s["score"].get<double>(), s["pinned"].get<bool>() ? "  pinned" : "",
                        s["chosen"].get<bool>() ? "  chosen" : "");
    text += kIndent + printable(s["path"].get<std::string>()) + '\n' + kIndent;
    if (s.contains("z_range_mm"))
      text += fmt::format("z {:.3f}..{:.3f}  ", s["z_range_mm"][0].get<double>(),
                          s["z_range_mm"][1].get<double>());
    text += fmt::format("normal ({:.4f}, {:.4f}, {:.4f})", normal[0].get<double>(),
                        normal[1].get<double>(), normal[2].get<double>());
    if (s["tilt_deg"].get<double>() > 0.01)
      text += fmt::format("  tilt {:.2f} deg", s["tilt_deg"].get<double>());
    if (s["mask_objects"].get<std::size_t>() > 0) text += "  SEG/RTSTRUCT";
    text += '\n';
    if (!s["detail"].get<std::string>().empty())
      text += kIndent + printable(s["detail"].get<std::string>()) + '\n';
    text += listed("flags", words(s["flags"]));
    std::vector<std::string> reasons;
    for (const auto& r : s["reasons"])
      reasons.push_back(fmt::format("{} {:+.1f} ({})", r["criterion"].get<std::string>(),
                                    r["points"].get<double>(), r["why"].get<std::string>()));
    text += listed("score:", reasons);
    for (const auto& gap : s["gaps"])
      text += fmt::format("    gap of {:.3f} mm after slice {}\n", gap["distance_mm"].get<double>(),
                          gap["after_slice"].get<std::size_t>());
    if (!s["transfer_syntax"].get<std::string>().empty())
      text += "    transfer syntax " + s["transfer_syntax"].get<std::string>() + "\n";
    if (s.contains("pixels") && s["pixels"].contains("sum_hu"))
      text += fmt::format("    HU {}..{}  sum {}  padding voxels {}\n",
                          s["pixels"]["minimum_hu"].get<std::int64_t>(),
                          s["pixels"]["maximum_hu"].get<std::int64_t>(),
                          s["pixels"]["sum_hu"].get<std::int64_t>(),
                          s["pixels"]["padding_voxels"].get<std::int64_t>());
    else if (s.contains("pixels"))
      text += "    cannot be read: " + s["pixels"]["code"].get<std::string>() + "  " +
              s["pixels"]["detail"].get<std::string>() + "\n";
  }
  if (!report["files"].empty()) text += "\nfiles in no series\n" + file_lines(report["files"]);
  if (!report["mask_files"].empty())
    text += "\nno masks, in --masks\n" + file_lines(report["mask_files"]);
  text += fmt::format("\n{} files\n", report["file_count"].get<std::size_t>());
  std::map<std::string, std::size_t> codes = report["codes"];
  const std::map<std::string, std::size_t> unseen = report["unseen"];
  std::erase_if(codes, [&](const auto& code) { return unseen.contains(code.first); });
  return text + codes_text(codes, codes.size()) + unseen_text(unseen);
}

}  // namespace wsp
