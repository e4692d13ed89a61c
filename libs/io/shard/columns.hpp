#pragma once
#include <hdf5.h>

#include <string>
#include <vector>

#include "io/shard/dataset.hpp"

/// The tables that shards and index share, so that both are written, read and compared by one piece
/// of code.
namespace wsp {

/// Throws Error(usage) for a number of shards that is no power of two, or labels that cannot be
/// columns.
void check_layout(const DatasetLayout& layout);
void write_layout(hid_t file, const DatasetLayout& layout);
/// Throws Error(corrupt) for another format, version or absurd sizes.
DatasetLayout read_layout(hid_t file, const std::string& expected_format);
/// The first field in which two layouts differ (tool_version aside), or empty.
std::string difference(const DatasetLayout& a, const DatasetLayout& b);

/// /slices/*: case (row of /cases), shard, row, split, source_index, z_mm, three depths,
/// liver_area_mm2, labels, continuous labels, and the chunks' offsets, lengths and hashes.
void write_slice_columns(hid_t group, const std::vector<CasePlaces>& cases,
                         const DatasetLayout& layout);
/// /cases/*: name, subject, split, shard, first_row, slice_count, flags, source_hash, spacing,
/// liver_ml, labels, continuous labels.
void write_case_columns(hid_t group, const std::vector<CasePlaces>& cases,
                        const DatasetLayout& layout);

/// Read both tables back, chunks empty. Every column's hash, every length, row number and copy of a
/// case's value is checked, and the order by (shard, name); throws Error(corrupt).
std::vector<CasePlaces> read_tables(hid_t file, const DatasetLayout& layout);
/// Check the index's /subjects/name and /slices/subject against the cases; throws Error(corrupt).
void check_subjects(hid_t file, const std::vector<CasePlaces>& cases);
/// The first field in which two records of one case differ, or empty.
std::string difference(const CasePlaces& a, const CasePlaces& b);

}  // namespace wsp
