#pragma once
#include <filesystem>
#include <set>
#include <string>

#include "train/eval/features.hpp"

/// Features to and from other tools: a matrix, a table of its rows, and where both come from.
namespace wsp::train {

/// DIRECTORY/features.npy [n][d] float32; slices.tsv: a row per slice with case, slice (of the
/// acquired volume, from 0), subject, depth, what is known of the case, content, and the labels;
/// facts.json. Throws Error(output).
void export_features(const FeatureTable& table, const std::filesystem::path& directory);

/// What import_features() does not find in the two files.
struct ImportContext {
  std::string encoder;          ///< name of the encoder; equal names say that it is the same
  std::string dataset;          ///< name where `known` says none
  std::filesystem::path facts;  ///< facts.json of an export; empty: the names above
  const FeatureTable* known =
      nullptr;  ///< the dataset's slices, as roster() gives them; null: the table says all
  std::set<std::string> left_out = {};  ///< its cases that are not taken
};

/// Features of any origin. With a dataset the table names case and slice, and all else is the
/// dataset's; without, it names the subject, and may have case (else the subject is the case),
/// slice, depth (else the order in the case), spacing_mm, pixel_mm, kernel, scanner, phase,
/// trained_on (-1, 0, 1) and content (16 hex digits; else equal features stand for equal pixels);
/// "number:NAME" is a label that is a number, empty where unknown; every other column is a label of
/// integers, -1 or empty where unknown. A column that is named like one of these and meant as a
/// label is written "label:NAME". Rows may come in any order. What
/// export_features() wrote gives the same table. Throws Error: usage naming row and column of what
/// does not fit, no_input.
FeatureTable import_features(const std::filesystem::path& npy, const std::filesystem::path& tsv,
                             const ImportContext& context);

}  // namespace wsp::train
