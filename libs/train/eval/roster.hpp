#pragma once
#include <filesystem>

#include "io/shard/dataset.hpp"
#include "train/data/provenance.hpp"
#include "train/eval/exchange.hpp"
#include "train/eval/features.hpp"

/// Who stands in a dataset, before any network has seen it.
namespace wsp::train {

enum class RosterContent {
  rows,   ///< a number of its own for every slice: nothing is read but the index
  pixels  ///< XXH3 of the pixels: every slice is decompressed
};

/// The cases of a dataset as a feature table of one dimension whose values are zero: make_cohort(),
/// shared_subjects() and near_duplicates() tell from it what they would tell from features. Cases
/// with doubtful depth are left out unless `include_flagged`. `image_size`: side at which the
/// pixels are hashed, as embed_dataset() would see them; 0: as they are stored. Throws Error:
/// no_input, corrupt, interrupted.
FeatureTable roster(const std::filesystem::path& dataset, bool include_flagged,
                    RosterContent content = RosterContent::rows, std::int64_t image_size = 0);

/// Write into a case what its own file in the dataset says: spacing, pixel size, kernel, scanner,
/// phase. Nothing where the dataset has no such file; throws Error(corrupt) where it is not the one
/// that was written.
void describe_case(const DatasetReader& reader, FeatureCase& c);
/// The numbers among a case's labels, for the next case of the table.
void add_numbers(FeatureTable& table, const DatasetReader& reader, const IndexCase& entry);

/// import_features() of slices of a dataset, all of whose slices are read for the hashes of their
/// pixels. Cases with doubtful depth are left out unless `include_flagged`, as embed_dataset()
/// does.
FeatureTable import_on_dataset(const std::filesystem::path& npy, const std::filesystem::path& tsv,
                               ImportContext context, const std::filesystem::path& dataset,
                               bool include_flagged);

/// Write into a table what weights say of their training: method, pretraining_sha256,
/// FeatureCase::trained_on.
void set_provenance(FeatureTable& table, const Provenance& provenance);
/// The dataset that an encoder was trained on, each slice by the hash of its pixels at the size at
/// which `features` were embedded. Throws Error: usage where it is not the dataset that the
/// features name (a warning where they name none), no_input, corrupt, interrupted.
FeatureTable pretraining_roster(const FeatureTable& features, const std::filesystem::path& dataset);

}  // namespace wsp::train
