#include "train/eval/source_facts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset.hpp"
#include "train/eval/roster.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string range_of(std::vector<double> values, const char* unit) {
  std::erase(values, 0.0);
  if (values.empty()) return "unknown";
  std::ranges::sort(values);
  return fmt::format("median {:.2f} {} ({:.2f} to {:.2f})", values[values.size() / 2], unit,
                     values.front(), values.back());
}

/// "sex: 0 12, 1 30; " of each label column.
std::string labels_of(const FeatureTable& table) {
  std::string text;
  for (std::size_t l = 0; l < table.label_names.size(); ++l) {
    std::map<std::int64_t, std::string> words;
    if (l < table.label_words.size())
      for (const auto& [word, value] : table.label_words[l]) words.emplace(value, word);
    std::map<std::string, int> counts;
    for (const std::int64_t value : table.labels[l])
      ++counts[value < 0 ? "" : words.contains(value) ? words[value] : std::to_string(value)];
    text += fmt::format("{} {}; ", table.label_names[l], counted(counts));
  }
  for (const auto& [name, of_case] : table.numbers) {
    std::vector<double> known = of_case;
    std::erase_if(known, [](double v) { return std::isnan(v); });
    std::ranges::sort(known);
    text += known.empty() ? fmt::format("{} unknown; ", name)
                          : fmt::format("{} median {:.4g} ({:.4g} to {:.4g}), unknown {}; ", name,
                                        known[known.size() / 2], known.front(), known.back(),
                                        of_case.size() - known.size());
  }
  return text;
}

}  // namespace

std::string counted(const std::map<std::string, int>& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, n] : counts)
    parts.push_back(fmt::format("{} {}", name.empty() ? "unknown" : name, n));
  return fmt::format("{}", fmt::join(parts, ", "));
}

Source source_of(const std::string& what, const std::string& directory, const fs::path& root,
                 const std::string& sha256_then, bool include_flagged) {
  Source s{what, directory, "", "", {}, {}};
  try {
    const std::string text = read_file(root / directory / "dataset.json");
    s.sha256 = hex(sha256(text));
    s.told = json::parse(text);
    s.cases = roster(root / directory, include_flagged, RosterContent::rows);
    const DatasetReader reader(root / directory);
    for (FeatureCase& c : s.cases.cases) describe_case(reader, c);
    for (const IndexCase& c : reader.cases()) {
      for (const Code flag : c.flags) ++s.flags[std::string(to_string(flag))];
      if (const std::string name = "cases/" + c.name + ".json"; reader.lists(name))
        ++s.masks[json::parse(reader.read_listed(name)).at("mask").at("source").get<std::string>()];
    }
  } catch (const Error& e) {
    if (e.code() == ErrorCode::interrupted) throw;
    s.absent = e.what();
    return s;
  } catch (const json::exception& e) {
    s.absent = e.what();
    return s;
  }
  if (!sha256_then.empty() && sha256_then != s.sha256)
    s.absent = "it is not the one that the results are of any more (SHA-256 was " +
               sha256_then.substr(0, 12) + ")";
  return s;
}

std::string characteristics_of(const Source& s) {
  std::map<std::string, int> scanner, kernel, phase;
  std::vector<double> spacing, pixel;
  for (const FeatureCase& c : s.cases.cases) {
    ++scanner[c.scanner];
    ++kernel[c.kernel];
    ++phase[c.phase];
    spacing.push_back(c.spacing_mm);
    pixel.push_back(c.pixel_mm);
  }
  return fmt::format(
      "of {} cases: {}scanner {}; kernel {}; phase by the header {}; slice spacing {}; pixel "
      "{}",
      s.cases.cases.size(), labels_of(s.cases), counted(scanner), counted(kernel), counted(phase),
      range_of(spacing, "mm"), range_of(pixel, "mm"));
}

}  // namespace wsp::train
