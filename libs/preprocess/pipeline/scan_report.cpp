#include "preprocess/pipeline/scan_report.hpp"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <map>
#include <vector>

#include "io/core/interrupt.hpp"
#include "io/core/progress.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {
namespace {

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
  nlohmann::json flags = nlohmann::json::array();
  for (const Code flag : s.flags) flags.push_back(to_string(flag));
  nlohmann::json series{{"key", s.key},
                        {"path", s.relative_path},
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
                        {"flags", flags}};
  if (!s.planes.empty()) series["z_range_mm"] = {s.planes.front().z_mm, s.planes.back().z_mm};
  return series;
}

}  // namespace

nlohmann::json scan_report(const Scan& scan, const IngestPlan& plan, bool pixels) {
  std::vector<nlohmann::json> series(scan.series.size());
  std::vector<bool> in_series(scan.files.size(), false);
  for (std::size_t i = 0; i < scan.series.size(); ++i) {
    series[i] = describe(scan.series[i], plan.series[i]);
    for (const std::size_t file : source_files(scan.series[i])) in_series[file] = true;
  }
  if (pixels) {
    Progress progress("reading pixels", scan.series.size(), "series");
    tbb::parallel_for(std::size_t{0}, scan.series.size(), [&](std::size_t i) {
      stop_if_interrupted("nothing was written; run the same command again");
      if (!scan.series[i].planes.empty()) {
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
  const auto referring = referring_masks(scan);
  for (std::size_t i = 0; i < scan.series.size(); ++i) {
    series[i]["mask_objects"] = referring[i].size();
    for (const std::size_t m : referring[i]) ++referred[scan.masks[m].file];
  }
  nlohmann::json files = nlohmann::json::array();
  std::map<std::string, std::size_t> codes;
  for (std::size_t i = 0; i < scan.files.size(); ++i) {
    FileEntry file = scan.files[i];
    if (const auto hit = referred.find(i); hit != referred.end()) {
      file.code = Code::USED_AS_MASK;
      file.detail = "refers to " + std::to_string(hit->second) + " series here";
    }
    ++codes[std::string(to_string(file.code))];
    if (!in_series[i])
      files.push_back(
          {{"path", file.relative_path}, {"code", to_string(file.code)}, {"detail", file.detail}});
  }
  return {
      {"series", series}, {"files", files}, {"codes", codes}, {"file_count", scan.files.size()}};
}

std::string to_text(const nlohmann::json& report) {
  std::string text;
  for (const auto& s : report["series"]) {
    const auto& size = s["size"];
    const auto& spacing = s["spacing_mm"];
    text += fmt::format("{}  {}x{}x{}  {:.4g} x {:.4g} x {:.4g} mm",
                        s["disposition"].get<std::string>(), size[0].get<int>(), size[1].get<int>(),
                        size[2].get<int>(), spacing[0].get<double>(), spacing[1].get<double>(),
                        spacing[2].get<double>());
    if (s.contains("z_range_mm"))
      text += fmt::format("  z {:.3f}..{:.3f}", s["z_range_mm"][0].get<double>(),
                          s["z_range_mm"][1].get<double>());
    if (s["tilt_deg"].get<double>() > 0.01)
      text += fmt::format("  tilt {:.2f} deg", s["tilt_deg"].get<double>());
    if (s["mask_objects"].get<std::size_t>() > 0) text += "  SEG/RTSTRUCT";
    text += fmt::format("  phase {}  score {:.1f}{}{}\n    {}\n", s["phase"].get<std::string>(),
                        s["score"].get<double>(), s["pinned"].get<bool>() ? "  pinned" : "",
                        s["chosen"].get<bool>() ? "  chosen" : "", s["path"].get<std::string>());
    const auto& normal = s["normal"];
    text += fmt::format("    normal ({:.4f}, {:.4f}, {:.4f})\n", normal[0].get<double>(),
                        normal[1].get<double>(), normal[2].get<double>());
    for (const auto& gap : s["gaps"])
      text += fmt::format("    gap of {:.3f} mm after slice {}\n", gap["distance_mm"].get<double>(),
                          gap["after_slice"].get<std::size_t>());
    if (!s["flags"].empty()) {
      text += "    flags";
      for (const auto& flag : s["flags"]) text += " " + flag.get<std::string>();
      text += "\n";
    }
    if (!s["transfer_syntax"].get<std::string>().empty())
      text += "    transfer syntax " + s["transfer_syntax"].get<std::string>() + "\n";
    if (!s["detail"].get<std::string>().empty())
      text += "    " + s["detail"].get<std::string>() + "\n";
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
  if (!report["files"].empty()) text += "\nfiles in no series\n";
  for (const auto& f : report["files"])
    text += fmt::format("  {:<28} {}  {}\n", f["code"].get<std::string>(),
                        f["path"].get<std::string>(), f["detail"].get<std::string>());
  text += fmt::format("\n{} files:", report["file_count"].get<std::size_t>());
  for (const auto& [code, count] : report["codes"].items())
    text += fmt::format("  {} {}", code, count.get<std::size_t>());
  return text + "\n";
}

}  // namespace wsp
