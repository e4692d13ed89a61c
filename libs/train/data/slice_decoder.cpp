#include "train/data/slice_decoder.hpp"

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kCachedRing = std::size_t{16}
                                    << 20;  ///< below it, a ring may stay in a cache

}  // namespace

SliceDecoder::SliceDecoder(const DatasetReader& reader, const LoaderOptions& options)
    : reader_(reader),
      resizer_(reader.layout().height, reader.layout().width, options.image_size),
      pixels_(static_cast<std::size_t>(options.image_size * options.image_size)),
      stored_pixels_(static_cast<std::size_t>(reader.layout().height * reader.layout().width)) {
  if (options.cache == CacheMode::ram)
    cache_ = std::make_unique<SliceCache>(reader.slices().size(), options.cache_rows, pixels_,
                                          options.masks, options.cache_limit_bytes);
}

SliceDecoder::Result SliceDecoder::decode(std::uint32_t row, std::span<std::int16_t> image,
                                          std::span<std::uint8_t> mask, std::size_t ring_bytes,
                                          Scratch& scratch) const {
  Result result;
  try {
    result.hit = cache_ && cache_->get(row, image, mask);
    if (result.hit) return result;
    // A ring beyond the caches pushes out of them what the threads work with.
    const bool cached = cache_ || ring_bytes < kCachedRing;
    read(row, image, mask, cached ? Placement::cached : Placement::streamed, scratch);
    if (cache_) cache_->put(row, image, mask);
  } catch (const Error& e) {
    result.error = std::current_exception();
    result.corrupt = e.code() == ErrorCode::corrupt;
  } catch (...) {
    result.error = std::current_exception();
  }
  return result;
}

void SliceDecoder::read(std::uint32_t row, std::span<std::int16_t> image,
                        std::span<std::uint8_t> mask, Placement placement, Scratch& scratch) const {
  if (resizer_.is_identity()) {
    reader_.read_image(row, image, scratch.read, placement);
    if (!mask.empty()) reader_.read_mask(row, mask, scratch.read);
    return;
  }
  scratch.image.resize(stored_pixels_);
  reader_.read_image(row, scratch.image, scratch.read);
  resizer_.image(scratch.image, image, scratch.sums);
  if (mask.empty()) return;
  scratch.mask.resize(stored_pixels_);
  reader_.read_mask(row, scratch.mask, scratch.read);
  resizer_.mask(scratch.mask, mask);
}

std::unique_ptr<SliceDecoder::Scratch> SliceDecoder::borrow() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Scratch>();
  auto scratch = std::move(idle_.back());
  idle_.pop_back();
  return scratch;
}

void SliceDecoder::give_back(std::unique_ptr<Scratch> scratch) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

}  // namespace wsp::train
