#pragma once
#include <hdf5.h>

#include <vector>

#include "io/shard/dataset.hpp"

/// The columns that shards and index share, so that both are written and read by one piece of code.
namespace wsp {

void write_layout(hid_t file, const DatasetLayout& layout);
/// Throws Error(corrupt) for another format, version or absurd sizes.
DatasetLayout read_layout(hid_t file, const std::string& expected_format);

/// /slices/*: case (index into /cases), source_index, z_mm, three depths, liver_area_mm2, labels, and the
/// chunks' lengths and hashes.
void write_slice_columns(hid_t group, const std::vector<CasePlaces>& cases, const DatasetLayout& layout);
/// /cases/*: name, subject, split, shard, first_row, slice_count, flags, source_hash, spacing, liver_ml, labels.
void write_case_columns(hid_t group, const std::vector<CasePlaces>& cases, const DatasetLayout& layout);

/// Read both tables back; chunks are empty, places as stored (offsets only where the file has them).
std::vector<CasePlaces> read_tables(hid_t file, const DatasetLayout& layout, bool is_index);

}  // namespace wsp
