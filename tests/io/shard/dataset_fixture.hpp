#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/shard/dataset.hpp"

namespace wsp::test {

inline constexpr std::int64_t kHeight = 24, kWidth = 32;

DatasetLayout small_layout(Codec codec, int shards = 4);
/// The HU and mask of one slice of case `c`, a function of its position only.
std::vector<std::int16_t> made_image(int c, std::int32_t source_index);
std::vector<std::uint8_t> made_mask(int c, std::int32_t source_index);
/// Case `c` with 1 + c % 5 slices, labels, flags and compressed chunks.
CaseRecord made_case(int c, const DatasetLayout& layout);
std::string made_name(int c);

/// A complete dataset (shards, index, cases, ledger, quarantine, dataset.json) of `count` cases.
void write_dataset(const std::filesystem::path& dataset, const DatasetLayout& layout, int count);
/// Overwrite a file in place, without the syncs of publishing.
/// Bring a dataset into the form of format version 1: its files beside dataset.json.
void make_version_one(const std::filesystem::path& root);
void overwrite(const std::filesystem::path& path, const std::string& bytes);
/// State the present hashes of all listed files in dataset.json, as a forger would.
void forge_hashes(const std::filesystem::path& root);

}  // namespace wsp::test
