#include "preprocess/pipeline/ledger_account.hpp"

#include <algorithm>
#include <map>
#include <string_view>

namespace wsp {
namespace {

namespace fs = std::filesystem;

// Every file of --masks is input too; those inside the export are counted there.
void add_mask_rows(const AccountInputs& in, const MaskDirectory& masks, LedgerAccount& account) {
  std::vector<LedgerRow>& rows = account.rows;
  auto& mask_names = account.mask_names;
  std::map<fs::path, std::string> used;
  for (const CasePlan& plan : in.plan.cases)
    for (const auto& path : plan.mask_files)
      used[path.lexically_normal()] = in.made.contains(plan.name) ? plan.name : "";
  const std::vector<std::string> unclear = masks.ambiguous();
  std::error_code ec;
  const fs::path root = fs::weakly_canonical(in.scan.root, ec);
  std::map<std::string_view, std::size_t> in_export;
  for (std::size_t i = 0; i < in.scan.files.size(); ++i)
    in_export.emplace(in.scan.files[i].relative_path, i);
  const auto add = [&](const std::string& relative, Code code, const std::string& name,
                       const std::string& detail) {
    const fs::path path = masks.root() / relative;
    const fs::path inside = fs::weakly_canonical(path.parent_path(), ec).lexically_relative(root);
    if (!ec && !inside.empty() && *inside.begin() != "..") {
      const auto row =
          in_export.find((inside / path.filename()).lexically_normal().generic_string());
      if (row == in_export.end()) return;
      Disposition& file = rows[row->second].disposition;
      // Left out or a label map as an image, yet a mask; or a mask of a case that was not made.
      const bool as_mask = code == Code::USED_AS_MASK || code == Code::OTHER_PART;
      if ((as_mask && (file.code == Code::EXCLUDED || file.code == Code::LABEL_MAP)) ||
          (file.code == Code::USED_AS_MASK && file.case_name.empty()))
        file = {code, name, detail};
      return;
    }
    mask_names.emplace_back(in.naming.path("masks/" + relative), "masks/" + relative);
    rows.push_back({mask_names.back().first, {code, name, detail}});
  };
  for (const std::string& relative : masks.files()) {
    const auto hit = used.find((masks.root() / relative).lexically_normal());
    const std::string name = hit == used.end() ? "" : hit->second;
    const bool elsewhere =
        hit == used.end() && in.other_masks.contains((masks.root() / relative).lexically_normal());
    add(relative,
        elsewhere                                                      ? Code::OTHER_PART
        : !name.empty()                                                ? Code::USED_AS_MASK
        : std::binary_search(unclear.begin(), unclear.end(), relative) ? Code::MASK_AMBIGUOUS
                                                                       : Code::MASK_UNREFERENCED,
        name, "");
  }
  for (const FileEntry& file : masks.others()) add(file.relative_path, file.code, "", file.detail);
}

}  // namespace

LedgerAccount account_files(const AccountInputs& in) {
  LedgerAccount account;
  for (std::size_t i = 0; i < in.scan.files.size(); ++i)
    account.rows.push_back({in.naming.path(in.scan.files[i].relative_path), in.plan.files[i]});
  if (in.masks != nullptr) add_mask_rows(in, *in.masks, account);
  return account;
}

}  // namespace wsp
