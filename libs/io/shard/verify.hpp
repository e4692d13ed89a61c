#pragma once
#include <algorithm>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "io/shard/dataset.hpp"

namespace wsp {

/// What a verification found; add() may be called from any thread.
class Findings {
 public:
  void add(Code code, const std::string& where, const std::string& detail) {
    const std::lock_guard lock(mutex_);
    list_.push_back({code, where, detail});
  }
  /// Sorted, so that the result does not depend on threads.
  std::vector<Finding> take() {
    std::sort(list_.begin(), list_.end(), [](const Finding& a, const Finding& b) {
      return std::tie(a.code, a.where, a.detail) < std::tie(b.code, b.where, b.detail);
    });
    return std::move(list_);
  }

 private:
  std::mutex mutex_;
  std::vector<Finding> list_;
};

/// Read a JSON file of the dataset and check it against its schema; null where it cannot be used.
nlohmann::json read_checked_json(const std::filesystem::path& root, const std::string& name,
                                 const char* schema, Findings& findings);
/// Compare the index's cases with cases/*.json, the counts of dataset.json, ledger and quarantine.
void verify_counts(const std::filesystem::path& root, const nlohmann::json& dataset,
                   const DatasetLayout& layout, const std::vector<CasePlaces>& cases,
                   Findings& findings);

}  // namespace wsp
