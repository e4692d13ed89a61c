#include "preprocess/report/page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "preprocess/report/assets.hpp"
#include "preprocess/report/base64.hpp"
#include "preprocess/report/numbers.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kQuarantineRows = 500, kCurves = 12;

// Inside <script>, nothing may look like the element's end or a comment's start.
std::string script_safe(const json& j) {
  const std::string text = json_text(j);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  }
  return safe;
}

const std::vector<std::string>& fixed_columns() {
  static const std::vector<std::string> names{"name",
                                              "subject",
                                              "split",
                                              "matrix",
                                              "pixel_mm",
                                              "spacing_mm",
                                              "acquired",
                                              "kept",
                                              "scan_range_mm",
                                              "liver_height_mm",
                                              "liver_ml",
                                              "liver_median_hu",
                                              "vessel_hu",
                                              "noise_hu",
                                              "air_hu",
                                              "fat_hu",
                                              "phase",
                                              "hu_phase",
                                              "kernel",
                                              "mask_source",
                                              "odd_share",
                                              "liver_shape",
                                              "depth_correlation",
                                              "depth_rmse",
                                              "slices_read",
                                              "flags"};
  return names;
}

json row_of(const CaseFacts& f, const CaseDepth& depth) {
  const auto maybe = [&](double value) {
    return depth.judged ? json(rounded(value, 3)) : json(nullptr);
  };
  json row{f.name,
           f.subject,
           f.split,
           fmt::format("{} × {}", f.matrix[0], f.matrix[1]),
           rounded(f.pixel_mm[0], 4),
           rounded(f.spacing_mm, 3),
           f.acquired,
           f.kept,
           rounded(f.scan_range_mm, 1),
           rounded(f.liver_height_mm, 1),
           rounded(f.liver_ml, 1),
           rounded(f.liver_median_hu, 1),
           rounded(f.vessel_hu, 1),
           rounded(f.noise_hu, 1),
           rounded(f.air_hu, 1),
           rounded(f.fat_hu, 1),
           f.phase,
           f.hu_phase,
           f.kernel,
           f.mask_source,
           rounded(f.pixels.odd_share, 4),
           rounded(depth.shape, 3),
           maybe(depth.correlation),
           maybe(depth.rmse),
           f.pixels.slices,
           flag_words(f.flags, ", ")};
  for (const std::int64_t label : f.labels) row.push_back(label);
  for (const auto& [name, value] : f.numbers) row.push_back(maybe(value));
  return row;
}

// Quantiles per bin over the cases that have such voxels.
json bands(const std::vector<CaseFacts>& cases, std::vector<double> CaseFacts::*part) {
  json result{{"p05", json::array()}, {"p50", json::array()}, {"p95", json::array()}};
  std::vector<const std::vector<double>*> filled;
  for (const CaseFacts& f : cases)
    if (std::any_of((f.*part).begin(), (f.*part).end(), [](double share) { return share > 0; }))
      filled.push_back(&(f.*part));
  for (std::size_t b = 0; b < kHistogramBins; ++b) {
    std::vector<double> values;
    for (const std::vector<double>* shares : filled) values.push_back((*shares)[b]);
    std::sort(values.begin(), values.end());
    for (const auto& [name, p] : {std::pair{"p05", 0.05}, {"p50", 0.5}, {"p95", 0.95}})
      result[name].push_back(rounded(quantile(values, p), 5));
  }
  return result;
}

json histograms(const PageInputs& in) {
  json curves = json::array();
  std::set<std::string> odd;
  for (const Finding& f : in.findings)
    if (f.code == Code::HU_OFFSET || f.code == Code::HU_CLIPPED || f.code == Code::NOT_PORTAL)
      odd.insert(f.case_name);
  for (const CaseFacts& f : in.cases)
    if (odd.contains(f.name) && curves.size() < kCurves)
      curves.push_back({{"name", f.name},
                        {"body", f.body_histogram},
                        {"liver", f.liver_histogram},
                        {"air", f.air_histogram}});
  return {{"low", kHistogramLow},
          {"bin", kHistogramBin},
          {"body", bands(in.cases, &CaseFacts::body_histogram)},
          {"liver", bands(in.cases, &CaseFacts::liver_histogram)},
          {"air", bands(in.cases, &CaseFacts::air_histogram)},
          {"curves", curves}};
}

json depth_points(const DepthAudit& audit) {
  json points = json::array();
  for (const auto& p : audit.points) {
    json row{p.case_index};
    for (const float v : p.stated) row.push_back(rounded(static_cast<double>(v), 3));
    for (const float v : p.predicted) row.push_back(rounded(static_cast<double>(v), 3));
    points.push_back(std::move(row));
  }
  return points;
}

// Cases with the gravest findings first.
std::vector<std::size_t> by_gravity(const PageInputs& in) {
  std::map<std::string, int> weight;
  for (const Finding& f : in.findings)
    weight[f.case_name] += f.severity == Severity::error ? 1000 : 1;
  std::vector<std::size_t> order(in.cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return weight[in.cases[a].name] > weight[in.cases[b].name];
  });
  return order;
}

struct Embedded {
  std::string html;
  std::size_t thumbs = 0, strips = 0, views = 0;
};

// What is seen of every case goes in first, then what is seen of one; the gravest cases first.
Embedded embed_pictures(const PageInputs& in) {
  Embedded result;
  std::uint64_t used = 0;
  const auto take = [&](const char* kind, std::size_t c, const fs::path& path) {
    std::error_code ec;
    const auto bytes = fs::file_size(path, ec);
    if (ec || used + bytes > in.embed_bytes) return false;
    used += bytes;
    const std::string file = read_file(path);
    const bool text = path.extension() == ".js";  // of qa/slices: base64 and numbers
    result.html += fmt::format(
        "<script type=\"text/plain\" id=\"{}-{}\">{}</script>\n", kind, c,
        text ? file : base64({reinterpret_cast<const std::uint8_t*>(file.data()), file.size()}));
    return true;
  };
  const auto order = by_gravity(in);
  for (const std::size_t c : order)
    result.thumbs +=
        take("thumb", c, in.qa / "pictures" / (in.cases[c].name + "-thumb.png")) ? 1 : 0;
  for (const std::size_t c : order) {
    if (!take("strip", c, in.qa / "pictures" / (in.cases[c].name + "-strip.png"))) continue;
    take("preview", c, in.state / "previews" / (in.cases[c].name + ".png"));
    ++result.strips;
  }
  for (const std::size_t c : order)
    result.views += take("slices", c, in.qa / "slices" / (in.cases[c].name + ".js")) ? 1 : 0;
  return result;
}

json meanings() {
  json j = json::object();
  for (const CodeInfo& code : all_codes()) j[std::string(code.name)] = code.meaning;
  return j;
}

json page_data(const PageInputs& in, const Embedded& embedded) {
  json columns = fixed_columns(), rows = json::array(), findings = json::array();
  for (const std::string& name : in.label_names) columns.push_back("label:" + name);
  json numbers = json::array();
  for (const auto& [name, value] : in.cases.front().numbers) {
    columns.push_back("number:" + name);
    numbers.push_back(name);
  }
  for (std::size_t c = 0; c < in.cases.size(); ++c)
    rows.push_back(row_of(in.cases[c], in.audit.cases[c]));
  for (const Finding& f : in.findings) findings.push_back(to_json(f));
  json quarantine = json::array();
  for (const QuarantineRow& q : in.account.quarantine)
    if (quarantine.size() < kQuarantineRows)
      quarantine.push_back({{"what", q.what},
                            {"name", q.name},
                            {"code", q.code},
                            {"detail", q.detail},
                            {"remedy", q.remedy}});
  std::error_code ec;
  const fs::path previews = in.state / "previews";
  const bool has_previews = fs::is_directory(previews, ec) && !fs::is_empty(previews, ec);
  const std::string linked = fs::relative(previews, in.qa, ec).generic_string();
  return {{"title", in.title},
          {"version", in.version},
          {"columns", columns},
          {"rows", rows},
          {"labels", in.label_names},
          {"numbers", numbers},
          {"findings", findings},
          {"fingerprint", in.fingerprint},
          {"account", to_json(in.account)},
          {"quarantine", quarantine},
          {"quarantine_total", in.account.quarantine.size()},
          {"histograms", histograms(in)},
          {"depth_points", depth_points(in.audit)},
          {"baseline", in.baseline},
          {"ratings", in.ratings},
          {"meanings", meanings()},
          {"pictures",
           {{"thumb", "pictures/*-thumb.png"},
            {"strip", "pictures/*-strip.png"},
            {"preview", linked + "/*.png"},
            {"slices", "slices/*.js"},
            {"has_slices", in.slice_side > 0},
            {"has_previews", has_previews}}},
          {"note", fmt::format("This file holds the small pictures of {}, the large ones of {} and "
                               "all kept slices of {} of {} cases; the others are read from the "
                               "folder beside it. 60 pictures or 50 rows are shown at a time. It "
                               "loads nothing from a network.",
                               embedded.thumbs, embedded.strips, embedded.views, in.cases.size())}};
}

void put(std::string& page, std::string_view mark, const std::string& text) {
  const auto at = page.find(mark);
  if (at == std::string::npos)
    throw Error(ErrorCode::failure, "the page has no place for " + std::string(mark));
  page.replace(at, mark.size(), text);
}

}  // namespace

std::string make_page(const PageInputs& in) {
  const Embedded embedded = embed_pictures(in);
  std::string page(report_asset("report.html"));
  // From the end to the start, so that no text that was put in is searched.
  put(page, "<!--CASES-->", std::string(report_asset("cases.js")));
  put(page, "<!--JS-->", std::string(report_asset("report.js")));
  put(page, "<!--VIEWER-->", std::string(report_asset("viewer.js")));
  put(page, "<!--CHARTJS-->", std::string(report_asset("chart.min.js")));
  put(page, "<!--PICTURES-->", embedded.html);
  put(page, "<!--DATA-->", script_safe(page_data(in, embedded)));
  put(page, "<!--CSS-->", std::string(report_asset("report.css")));
  return page;
}

}  // namespace wsp::qa
