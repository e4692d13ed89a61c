#include "preprocess/pipeline/earlier_run.hpp"

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"

namespace wsp {

namespace fs = std::filesystem;

EarlierCases load_earlier_cases(const std::vector<fs::path>& states, int shard) {
  EarlierCases cases;
  for (const fs::path& state : states) {
    if (!fs::exists(state / "shards" / shard_file_name(shard))) continue;
    try {
      for (CaseRecord& record : read_shard_cases(state, shard))
        cases.emplace(record.name, std::move(record));
      return cases;
    } catch (const Error& e) {
      log::warn(std::string("shard of an earlier run is unusable and is made again: ") + e.what());
      cases.clear();
    }
  }
  return cases;
}

namespace {

// The case's JSON and preview where both are this plan's; the first such state counts.
bool load_provenance(const std::vector<fs::path>& states, const CasePlan& plan,
                     CaseProduct& product) {
  for (const fs::path& state : states) {
    try {
      product.provenance = load_json(state / "cases" / (plan.name + ".json"));
      const std::string preview = read_file(state / "previews" / (plan.name + ".png"));
      if (product.provenance.at("source_hash") != plan.key ||
          product.provenance.at("preview_sha256") != hex(sha256(preview)))
        continue;
      product.preview.assign(preview.begin(), preview.end());
      return true;
    } catch (const std::exception&) {  // absent or no JSON of ours
    }
  }
  return false;
}

}  // namespace

std::optional<CaseProduct> take_over(const std::vector<fs::path>& states, EarlierCases& earlier,
                                     const CasePlan& plan,
                                     const std::map<std::string, std::size_t>& file_by_hash) {
  const auto old = earlier.find(plan.name);
  if (old == earlier.end() || old->second.source_hash != plan.key) return std::nullopt;
  try {
    CaseProduct product;
    if (!load_provenance(states, plan, product)) return std::nullopt;
    for (const auto& entry : product.provenance.at("ledger")) {
      const auto file = file_by_hash.find(entry.at(0).get<std::string>());
      const auto code = parse_code(entry.at(1).get<std::string>());
      if (file == file_by_hash.end() || !code) return std::nullopt;
      product.files.emplace_back(file->second, *code);
    }
    product.record = std::move(old->second);
    return product;
  } catch (const std::exception&) {  // no JSON of ours
    return std::nullopt;
  }
}

std::vector<LostCase> lost_cases(const std::set<std::string>& earlier,
                                 const std::set<std::string>& made, const IngestPlan& plan) {
  std::map<std::string, Code> why;
  for (const CasePlan& planned : plan.cases)
    for (const auto& candidate : planned.candidates)
      if (const auto code = parse_code(candidate.at("disposition").get<std::string>()))
        why.emplace(candidate.at("name"), *code);
  for (const Disposition& file : plan.files)
    if (!file.case_name.empty()) why.emplace(file.case_name, file.code);
  for (const Rejection& refused : plan.rejections) why[refused.case_name] = refused.code;
  std::vector<LostCase> lost;
  for (const std::string& name : earlier) {
    if (made.contains(name)) continue;
    const auto code = why.find(name);
    lost.push_back({name, code == why.end() ? std::nullopt : std::optional(code->second)});
  }
  return lost;
}

std::string to_text(const std::vector<LostCase>& lost) {
  constexpr std::size_t kShown = 20;
  std::map<int, std::vector<std::string>> by_kind;
  for (const LostCase& c : lost) {
    const int kind = !c.code ? 0 : info(*c.code).kind == CodeKind::rejected ? 1 : 2;
    by_kind[kind].push_back(c.name +
                            (kind == 0 ? "" : " (" + std::string(to_string(*c.code)) + ")"));
  }
  std::string text;
  for (const auto& [kind, names] : by_kind) {
    text += text.empty() ? "" : "; ";
    text += kind == 0   ? "not in this export any more: "
            : kind == 1 ? "refused now: "
                        : "not selected any more: ";
    for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i)
      text += (i == 0 ? "" : ", ") + names[i];
    if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  }
  return text;
}

}  // namespace wsp
