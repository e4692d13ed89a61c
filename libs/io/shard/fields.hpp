#pragma once
#include "io/shard/dataset.hpp"

/// What shards and index keep of a case and of a slice: each column is named here once, and
/// written, read and compared by these lists, in their order. A visitor is called with the column's
/// name and a function that gives a reference to its value. A new name belongs into
/// is_reserved_label() too.
namespace wsp {

/// Of a CasePlaces: who it is and where it lies.
template <class Visit>
void visit_case_identity(Visit&& visit) {
  visit(
      "name", [](auto& c) -> auto& { return c.record.name; });
  visit(
      "subject", [](auto& c) -> auto& { return c.record.subject; });
  visit(
      "split", [](auto& c) -> auto& { return c.record.split; });
  visit(
      "source_hash", [](auto& c) -> auto& { return c.record.source_hash; });
  visit(
      "flags", [](auto& c) -> auto& { return c.record.flags; });
  visit(
      "shard", [](auto& c) -> auto& { return c.shard; });
  visit(
      "first_row", [](auto& c) -> auto& { return c.first_row; });
}

/// Of a CasePlaces: what was measured.
template <class Visit>
void visit_case_measures(Visit&& visit) {
  visit(
      "pixel_x_mm", [](auto& c) -> auto& { return c.record.pixel_mm[0]; });
  visit(
      "pixel_y_mm", [](auto& c) -> auto& { return c.record.pixel_mm[1]; });
  visit(
      "spacing_mm", [](auto& c) -> auto& { return c.record.spacing_mm; });
  visit(
      "liver_ml", [](auto& c) -> auto& { return c.record.liver_ml; });
}

/// Of a SliceRecord.
template <class Visit>
void visit_slice_measures(Visit&& visit) {
  visit(
      "z_mm", [](auto& s) -> auto& { return s.z_mm; });
  visit(
      "depth_kept", [](auto& s) -> auto& { return s.depth_kept; });
  visit(
      "depth_liver", [](auto& s) -> auto& { return s.depth_liver; });
  visit(
      "depth_volume", [](auto& s) -> auto& { return s.depth_volume; });
  visit(
      "liver_area_mm2", [](auto& s) -> auto& { return s.liver_area_mm2; });
}

/// Of a ChunkPlace.
template <class Visit>
void visit_chunks(Visit&& visit) {
  visit(
      "image_offset", [](auto& p) -> auto& { return p.image_offset; });
  visit(
      "image_length", [](auto& p) -> auto& { return p.image_length; });
  visit(
      "image_raw", [](auto& p) -> auto& { return p.image_raw; });
  visit(
      "image_xxh3", [](auto& p) -> auto& { return p.image_xxh3; });
  visit(
      "mask_offset", [](auto& p) -> auto& { return p.mask_offset; });
  visit(
      "mask_length", [](auto& p) -> auto& { return p.mask_length; });
  visit(
      "mask_raw", [](auto& p) -> auto& { return p.mask_raw; });
  visit(
      "mask_xxh3", [](auto& p) -> auto& { return p.mask_xxh3; });
}

}  // namespace wsp
