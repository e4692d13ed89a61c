#include "train/data/batch_slot.hpp"

#include <algorithm>

namespace wsp::train {

std::int64_t BatchLease::number() const { return slot_->number; }
std::span<const std::uint32_t> BatchLease::rows() const { return slot_->rows; }
std::span<const std::int16_t> BatchLease::images() const {
  return {slot_->images.as<std::int16_t>(), slot_->rows.size() * slot_->pixels};
}
std::span<const std::uint8_t> BatchLease::masks() const {
  if (!slot_->has_masks) return {};
  return {slot_->masks.as<std::uint8_t>(), slot_->rows.size() * slot_->pixels};
}

void BatchLease::Slot::clear(std::int64_t batch, std::size_t slice_pixels, bool with_masks) {
  number = batch;
  rows.clear();
  corrupt.clear();
  started = finished = 0;
  cache_hits = 0;
  error = nullptr;
  error_place = kNoPlace;
  pixels = slice_pixels;
  has_masks = with_masks;
}

void BatchLease::Slot::take_rows(std::vector<std::uint32_t> of_batch) {
  rows = std::move(of_batch);
  images.reserve(rows.size() * pixels * sizeof(std::int16_t));
  if (has_masks) masks.reserve(rows.size() * pixels);
}

std::span<std::int16_t> BatchLease::Slot::image(std::size_t place) const {
  return {images.as<std::int16_t>() + place * pixels, pixels};
}

std::span<std::uint8_t> BatchLease::Slot::mask(std::size_t place) const {
  if (!has_masks) return {};
  return {masks.as<std::uint8_t>() + place * pixels, pixels};
}

void BatchLease::Slot::note_error(std::size_t place, const std::exception_ptr& what, bool replace) {
  if (replace) {
    corrupt.push_back(place);
    if (corrupt.size() < rows.size()) return;
  }
  if (place > error_place) return;
  error = what;
  error_place = place;
}

void BatchLease::Slot::replace_corrupt() {
  if (error != nullptr) return;
  const std::size_t n = rows.size();
  std::vector<char> sound(n, 1);
  for (const std::size_t place : corrupt) sound[place] = 0;
  for (const std::size_t place : corrupt) {
    std::size_t from = place;
    do from = (from + 1) % n;
    while (sound[from] == 0);
    rows[place] = rows[from];
    std::ranges::copy(image(from), image(place).begin());
    std::ranges::copy(mask(from), mask(place).begin());
  }
}

}  // namespace wsp::train
