#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/shard/dataset.hpp"

/// Where the files of a dataset stand. Since format version 2 they lie in a folder of their own,
/// the state, which dataset.json names: its rename is what replaces one state by the next, as a
/// whole.
namespace wsp {

/// The folder that dataset.json names, or, in format version 1, the dataset itself. Throws
/// Error(no_input) where no dataset.json is, Error(corrupt) where it names no such folder.
std::filesystem::path state_directory(const std::filesystem::path& dataset);

/// The bytes of a file of a state, such as cases/CASE.json, which the "files" of dataset.json (path
/// and SHA-256) vouch for. Throws Error(corrupt) where it is unlisted, missing or differs from its
/// hash.
std::string read_listed(const std::filesystem::path& state,
                        const std::map<std::string, std::string>& files, const std::string& name);

/// Where the next state is made; it may hold what an interrupted run finished.
std::filesystem::path next_state(const std::filesystem::path& dataset);

/// Folders in a dataset that dataset.json does not name: a next state, or what a kill left between
/// two steps of publish_state(). Complete or not, readers pass them by.
std::vector<std::filesystem::path> unnamed_states(const std::filesystem::path& dataset);

/// Make next_state() the dataset. Lists and hashes every file in it that is a part of a dataset
/// (shards, index, cases, previews, ledger, quarantine; nothing else that may lie there), takes
/// those that did not change from the state that stands (hard links, where the file system has
/// them), gives the folder a name that depends on its contents alone, and writes dataset.json with
/// `fields` merged in ("config", "counts", "classes", ...): the commit. What stood before is
/// removed after it. A failure at any step leaves what stood. Throws Error(output).
void publish_state(const std::filesystem::path& dataset, const nlohmann::json& fields,
                   const DatasetLayout& layout);

}  // namespace wsp
