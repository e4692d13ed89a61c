#include "preprocess/report/croissant.hpp"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <regex>

#include "io/core/error.hpp"

namespace wsp::qa {
namespace {

using nlohmann::json;

json context() {
  return {{"@language", "en"},
          {"@vocab", "https://schema.org/"},
          {"citeAs", "cr:citeAs"},
          {"column", "cr:column"},
          {"conformsTo", "dct:conformsTo"},
          {"cr", "http://mlcommons.org/croissant/"},
          {"rai", "http://mlcommons.org/croissant/RAI/"},
          {"data", {{"@id", "cr:data"}, {"@type", "@json"}}},
          {"dataType", {{"@id", "cr:dataType"}, {"@type", "@vocab"}}},
          {"dct", "http://purl.org/dc/terms/"},
          {"examples", {{"@id", "cr:examples"}, {"@type", "@json"}}},
          {"extract", "cr:extract"},
          {"field", "cr:field"},
          {"fileProperty", "cr:fileProperty"},
          {"fileObject", "cr:fileObject"},
          {"fileSet", "cr:fileSet"},
          {"format", "cr:format"},
          {"includes", "cr:includes"},
          {"isLiveDataset", "cr:isLiveDataset"},
          {"jsonPath", "cr:jsonPath"},
          {"key", "cr:key"},
          {"md5", "cr:md5"},
          {"parentField", "cr:parentField"},
          {"path", "cr:path"},
          {"recordSet", "cr:recordSet"},
          {"references", "cr:references"},
          {"regex", "cr:regex"},
          {"repeated", "cr:repeated"},
          {"replace", "cr:replace"},
          {"sc", "https://schema.org/"},
          {"separator", "cr:separator"},
          {"source", "cr:source"},
          {"subField", "cr:subField"},
          {"transform", "cr:transform"}};
}

json file_object(const std::string& id, const std::string& url, const std::string& format,
                 const std::string& sha256, const std::string& description) {
  return {{"@type", "cr:FileObject"},
          {"@id", id},
          {"name", id},
          {"description", description},
          {"contentUrl", url},
          {"encodingFormat", format},
          {"sha256", sha256}};
}

json field(const std::string& column, const std::string& type, const std::string& description) {
  return {{"@type", "cr:Field"},
          {"@id", "cases/" + column},
          {"name", column},
          {"description", description},
          {"dataType", type},
          {"source", {{"fileObject", {{"@id", "group.tsv"}}}, {"extract", {{"column", column}}}}}};
}

// What the masks hold; a liver where the configuration says nothing.
std::string organ_of(const json& dataset) {
  return dataset.value("config", json::object())
      .value("organ", json::object())
      .value("name", "liver");
}

std::string describe(const json& dataset, const Publication& publication) {
  if (!publication.description.empty()) return publication.description;
  const json counts = dataset.value("counts", json::object());
  return fmt::format(
      "Axial abdominal CT around the {0}: {1} slices of {2} cases of {3} subjects as int16 HU, "
      "with "
      "{0} masks, weak labels and depth, for weakly-supervised positional contrastive "
      "pretraining.",
      organ_of(dataset), counts.value("slices", 0), counts.value("cases", 0),
      counts.value("subjects", 0));
}

bool is_url(const std::string& text) {
  static const std::regex pattern("[Hh][Tt][Tt][Pp][Ss]?://[^\\s/?#<>\"]+([/?#][^\\s<>\"]*)?");
  constexpr std::size_t kLongest = 2048;  // std::regex recurses once per character
  return text.size() <= kLongest && std::regex_match(text, pattern);
}

bool is_date(const std::string& text) {
  static const std::regex pattern("([0-9]{4})-([0-9]{2})-([0-9]{2})");
  std::smatch part;
  if (!std::regex_match(text, part, pattern)) return false;
  return std::chrono::year_month_day{std::chrono::year{std::stoi(part[1])},
                                     std::chrono::month{static_cast<unsigned>(std::stoi(part[2]))},
                                     std::chrono::day{static_cast<unsigned>(std::stoi(part[3]))}}
      .ok();
}

}  // namespace

void check_publication(const Publication& publication) {
  const auto refuse = [](const char* option, const char* expected, const std::string& found) {
    throw Error(ErrorCode::usage,
                fmt::format("{}: expected {}, found '{}'", option, expected, found));
  };
  if (!publication.date.empty() && !is_date(publication.date))
    refuse("--date", "a date as YYYY-MM-DD, for example 2024-05-31", publication.date);
  if (!publication.license.empty() && !is_url(publication.license))
    refuse("--license",
           "the URL of a licence, for example https://creativecommons.org/licenses/by/4.0/",
           publication.license);
  if (!publication.url.empty() && !is_url(publication.url))
    refuse("--url", "a URL that begins with http:// or https://", publication.url);
}

json croissant(const json& dataset, const Publication& publication,
               const std::vector<std::string>& label_names, const std::string& group_sha256,
               const std::string& dataset_link) {
  const std::string organ = organ_of(dataset);
  json files = json::array();
  for (const auto& [name, sha256] : dataset.at("files").items()) {
    if (name == "index.h5")
      files.push_back(file_object(name, dataset_link + "/" + name, "application/x-hdf5",
                                  sha256.get<std::string>(),
                                  "one row per kept slice and per case, and where its pixels are"));
    else if (name.starts_with("shards/"))
      files.push_back(file_object(name, dataset_link + "/" + name, "application/x-hdf5",
                                  sha256.get<std::string>(),
                                  "HU and " + organ + " masks of kept slices"));
  }
  files.push_back(file_object("group.tsv", "group.tsv", "text/tab-separated-values", group_sha256,
                              "one row per case: geometry, HU, " + organ + ", findings"));
  json fields{field("case", "sc:Text", "pseudonym of the case"),
              field("subject", "sc:Text", "pseudonym of the person"),
              field("split", "sc:Text", "train, val or test, where stated")};
  for (const std::string& name : label_names)
    fields.push_back(
        field(name == "label" ? name : "label_" + name, "sc:Integer", "class; -1 is unknown"));
  for (const json& name : dataset.value("continuous_names", json::array()))
    fields.push_back(field("number_" + name.get<std::string>(), "sc:Float",
                           "the label's number; empty where it is unknown"));
  for (const auto& [column, words] : std::initializer_list<std::pair<const char*, std::string>>{
           {"spacing_mm", "median slice distance, mm"},
           {"pixel_x_mm", "acquired pixel size, mm"},
           {"liver_ml", organ + " volume of the mask, ml"},
           {"liver_median_hu", "median HU of the " + organ}})
    fields.push_back(field(column, "sc:Float", words));
  fields.push_back(field("kept", "sc:Integer", "slices in the dataset"));
  fields.push_back(field("findings", "sc:Text", "codes of the QA's findings"));
  const auto said = [](const std::string& text) {
    return text.empty() ? std::string("not stated") : text;
  };
  json j{{"@context", context()},
         {"@type", "sc:Dataset"},
         {"conformsTo", "http://mlcommons.org/croissant/" + publication.croissant},
         {"name", publication.title.empty() ? "wsp-dataset" : publication.title},
         {"description", describe(dataset, publication)},
         {"license", said(publication.license)},
         {"version", "1.0.0"},
         {"isLiveDataset", false},
         {"distribution", files},
         {"recordSet", json::array({{{"@type", "cr:RecordSet"},
                                     {"@id", "cases"},
                                     {"name", "cases"},
                                     {"description", "one record per case"},
                                     {"key", {{"@id", "cases/case"}}},
                                     {"field", fields}}})}};
  if (!publication.url.empty()) j["url"] = publication.url;
  if (!publication.date.empty()) j["datePublished"] = publication.date;
  if (!publication.creator.empty())
    j["creator"] = {{"@type", "sc:Organization"}, {"name", publication.creator}};
  return j;
}

std::string dataset_card(const json& dataset, const Publication& publication,
                         const json& fingerprint, const LedgerAccount& account,
                         const std::vector<Finding>& findings) {
  const auto said = [](const std::string& text) {
    return text.empty() ? std::string("not stated") : text;
  };
  const auto spread = [&](const char* name, const char* unit) {
    const json& d = fingerprint.at(name);
    if (d.at("n").get<std::size_t>() == 0) return std::string("not measured");
    return fmt::format("{:.2f} ± {:.2f} {} (5 to 95 %: {:.2f} to {:.2f})",
                       d.at("mean").get<double>(), d.at("sd").get<double>(), unit,
                       d.at("p05").get<double>(), d.at("p95").get<double>());
  };
  std::string card =
      fmt::format("# {}\n\n{}\n\n", publication.title.empty() ? "Dataset card" : publication.title,
                  describe(dataset, publication));
  card += fmt::format(
      "- Licence: {}\n- Creator: {}\n- Made by: wsp-ingest {}, described by wsp-qa\n\n",
      said(publication.license), said(publication.creator), dataset.value("tool_version", "?"));
  card += "## What is in it\n\n| | |\n|---|---|\n";
  card += fmt::format(
      "| cases, subjects, slices | {}, {}, {} |\n", fingerprint.at("cases").get<std::size_t>(),
      fingerprint.at("subjects").get<std::size_t>(), fingerprint.at("slices").get<std::int64_t>());
  card += fmt::format(
      "| slice distance | {} |\n| pixel size | {} |\n| scan range | {} |\n| kept slices per case | "
      "{} |\n",
      spread("spacing_mm", "mm"), spread("pixel_mm", "mm"), spread("scan_range_mm", "mm"),
      spread("kept_slices", ""));
  card += fmt::format("| {0} volume | {1} |\n| {0}, median HU | {2} |\n\n", organ_of(dataset),
                      spread("liver_ml", "ml"), spread("liver_median_hu", "HU"));
  card += "## Labels\n\n| label | class | subjects | cases | slices |\n|---|---|---|---|---|\n";
  for (const auto& [label, classes] : fingerprint.at("labels").items())
    for (const auto& [value, n] : classes.items())
      card += fmt::format("| {} | {} | {} | {} | {} |\n", label, value == "-1" ? "unknown" : value,
                          n.at("subjects").get<int>(), n.at("cases").get<int>(),
                          n.at("slices").get<std::int64_t>());
  if (!fingerprint.at("numbers").empty())
    card += "\n| number | cases that have it | median (5 to 95 %) |\n|---|---|---|\n";
  for (const auto& [name, of] : fingerprint.at("numbers").items())
    card += of.at("n") == 0 ? fmt::format("| {} | 0 | |\n", name)
                            : fmt::format("| {} | {} | {:.4g} ({:.4g} to {:.4g}) |\n", name,
                                          of.at("n").get<int>(), of.at("median").get<double>(),
                                          of.at("p05").get<double>(), of.at("p95").get<double>());
  const json& depth = fingerprint.at("depth");
  card += fmt::format("\n## Depth\n\nRecommended: `--depth {}`; {}.\n\n",
                      depth.at("recommended").get<std::string>().substr(6),
                      depth.at("reason").get<std::string>());
  card += fmt::format("## Where it comes from\n\n{} input files", account.files);
  for (const auto& [kind, codes] : account.by_kind) {
    std::int64_t n = 0;
    for (const auto& [code, files] : codes) n += files;
    card += fmt::format(", {} {}", n, kind);
  }
  card += fmt::format(
      "; {} cases were refused (quarantine.tsv). {}\n\n", account.quarantined_cases(),
      account.problems.empty() ? "Every file is accounted for." : "The ledger does not reconcile.");
  card +=
      "HU are clipped to the window of dataset.json's config; subjects and cases are pseudonyms "
      "unless the data "
      "was public.\n\n## Known findings\n\n";
  std::map<std::string, std::pair<int, std::string>> codes;
  for (const Finding& f : findings) {
    auto& entry = codes[std::string(to_string(f.code))];
    ++entry.first;
    entry.second = to_string(f.severity);
  }
  if (codes.empty()) card += "None.\n";
  for (const auto& [code, entry] : codes)
    card += fmt::format("- {} ({}): {}. {}\n", code, entry.second, entry.first,
                        info(*parse_code(code)).meaning);
  card += fmt::format(
      "\n## Limits\n\nMade for research on {} CT; not a medical device. Populations, scanners "
      "and readers other than these may differ.\n",
      organ_of(dataset));
  return card;
}

}  // namespace wsp::qa
