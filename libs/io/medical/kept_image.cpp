#include "io/medical/kept_image.hpp"

#include <set>

#include "io/medical/scan.hpp"

namespace wsp::dicom {
namespace {

constexpr std::int64_t kMostPixels = 2048 * 2048;  // of a CT; packing takes 3 bytes for each
constexpr std::int32_t kMostStep = 127;
constexpr std::uint8_t kWide = 0x80;  // two bytes of the value itself follow

/// The values as 16-bit numbers, or nothing where one is none.
std::optional<std::vector<std::int16_t>> narrow(std::span<const std::int32_t> values) {
  std::vector<std::int16_t> narrowed(values.size());
  std::int32_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    narrowed[i] = static_cast<std::int16_t>(values[i]);
    wrong |= narrowed[i] ^ values[i];
  }
  if (wrong != 0) return std::nullopt;
  return narrowed;
}

}  // namespace

std::vector<std::uint8_t> pack_steps(std::span<const std::int16_t> values) {
  std::vector<std::uint8_t> steps(3 * values.size());
  std::uint8_t* to = steps.data();
  std::int32_t last = 0;
  for (const std::int16_t value : values) {
    const std::int32_t step = value - last;
    last = value;
    if (step >= -kMostStep && step <= kMostStep) {
      *to++ = static_cast<std::uint8_t>(step);
    } else {
      const auto word = static_cast<std::uint16_t>(value);
      *to++ = kWide;
      *to++ = static_cast<std::uint8_t>(word & 0xFFU);
      *to++ = static_cast<std::uint8_t>(word >> 8U);
    }
  }
  return {steps.data(), to};
}

void unpack_steps(std::span<const std::uint8_t> steps, std::span<std::int16_t> values) {
  const std::uint8_t* from = steps.data();
  std::int32_t last = 0;
  for (std::int16_t& value : values) {
    const std::uint8_t step = *from++;
    if (step == kWide) {
      last = static_cast<std::int16_t>(static_cast<std::uint16_t>(from[0] | from[1] << 8U));
      from += 2;
    } else {
      last += static_cast<std::int8_t>(step);
    }
    value = static_cast<std::int16_t>(last);
  }
}

bool KeptRoom::take(std::size_t bytes) {
  const auto wanted = static_cast<std::int64_t>(bytes);
  if (left_.fetch_sub(wanted) >= wanted) return true;
  left_ += wanted;
  full_ = true;
  return false;
}

void KeptRoom::give(std::size_t bytes) {
  left_ += static_cast<std::int64_t>(bytes);
  full_ = false;
}

std::size_t KeptImage::Content::bytes() const {
  return sizeof(Content) + steps.size() + padding.size() / 8;
}

bool KeptImage::has_room() const { return !room_->is_full(); }

std::size_t KeptImage::bytes() const {
  const std::lock_guard lock(mutex_);
  return content_ == nullptr ? 0 : content_->bytes();
}

void KeptImage::keep(const Digest& hash, const DecodedFrame& frame) {
  if (frame.columns * frame.rows > kMostPixels) return;
  auto content = std::make_shared<Content>();
  content->hash = hash;
  content->plain = !frame.plain.view.empty();
  if (content->plain) {
    content->steps = pack_steps(frame.plain.view);
  } else {
    const auto values = narrow(frame.stored);
    if (!values) return;
    content->steps = pack_steps(*values);
  }
  content->padding.assign(frame.padding.begin(), frame.padding.end());
  DecodedFrame& rest = content->frame;
  rest.columns = frame.columns;
  rest.rows = frame.rows;
  rest.padding_range = frame.padding_range;
  rest.slope = frame.slope;
  rest.intercept = frame.intercept;
  rest.sign_repaired = frame.sign_repaired;
  rest.words = frame.words;
  if (room_->take(content->bytes())) put(std::move(content));
}

std::optional<DecodedFrame> KeptImage::find(const Digest& hash) const {
  std::shared_ptr<const Content> content;
  {
    const std::lock_guard lock(mutex_);
    content = content_;
  }
  if (content == nullptr || content->hash != hash) return std::nullopt;
  DecodedFrame frame = content->frame;
  const auto pixels = static_cast<std::size_t>(frame.columns * frame.rows);
  const auto values = std::make_shared<std::vector<std::int16_t>>(pixels);
  unpack_steps(content->steps, *values);
  if (content->plain)
    frame.plain = {*values, values};
  else
    frame.stored.assign(values->begin(), values->end());
  frame.padding.assign(content->padding.begin(), content->padding.end());
  return frame;
}

void KeptImage::put(std::shared_ptr<const Content> content) {
  {
    const std::lock_guard lock(mutex_);
    content_.swap(content);
  }
  if (content != nullptr) room_->give(content->bytes());
}

}  // namespace wsp::dicom

namespace wsp {

std::uint64_t keep_images_of(Scan& scan, const std::vector<std::size_t>& series) {
  std::set<std::size_t> files;
  for (const std::size_t s : series)
    for (const Plane& plane : scan.series[s].planes) files.insert(plane.file);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < scan.files.size(); ++i) {
    auto& kept = scan.files[i].kept;
    if (!files.contains(i)) kept.reset();
    if (kept != nullptr) bytes += kept->bytes();
  }
  return bytes;
}

}  // namespace wsp
