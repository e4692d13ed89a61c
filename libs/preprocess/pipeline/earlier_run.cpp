#include "preprocess/pipeline/earlier_run.hpp"

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"

namespace wsp {

namespace fs = std::filesystem;

EarlierCases load_earlier_cases(const fs::path& dataset, int shard) {
  EarlierCases cases;
  if (!fs::exists(dataset / "shards" / shard_file_name(shard))) return cases;
  try {
    for (CaseRecord& record : read_shard_cases(dataset, shard))
      cases.emplace(record.name, std::move(record));
  } catch (const Error& e) {
    log::warn(std::string("shard of an earlier run is unusable and is made again: ") + e.what());
    cases.clear();
  }
  return cases;
}

std::optional<CaseProduct> take_over(const fs::path& dataset, EarlierCases& earlier,
                                     const CasePlan& plan,
                                     const std::map<std::string, std::size_t>& file_by_hash) {
  const auto old = earlier.find(plan.name);
  if (old == earlier.end() || old->second.source_hash != plan.key) return std::nullopt;
  try {
    CaseProduct product;
    product.provenance = load_json(dataset / "cases" / (plan.name + ".json"));
    const std::string preview = read_file(dataset / "previews" / (plan.name + ".png"));
    if (product.provenance.at("source_hash") != plan.key ||
        product.provenance.at("preview_sha256") != hex(sha256(preview)))
      return std::nullopt;
    product.preview.assign(preview.begin(), preview.end());
    for (const auto& entry : product.provenance.at("ledger")) {
      const auto file = file_by_hash.find(entry.at(0).get<std::string>());
      const auto code = parse_code(entry.at(1).get<std::string>());
      if (file == file_by_hash.end() || !code) return std::nullopt;
      product.files.emplace_back(file->second, *code);
    }
    product.record = std::move(old->second);
    return product;
  } catch (const std::exception&) {  // absent or no JSON of ours
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
