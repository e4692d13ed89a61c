#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "io/core/hash.hpp"
#include "io/medical/codec.hpp"

/// Images that the scan decoded, for the read: compressed files are decoded once. Internal to
/// io/medical.
namespace wsp::dicom {

/// Bytes that all kept images of a scan may take together. Thread-safe.
class KeptRoom {
 public:
  explicit KeptRoom(std::uint64_t bytes) : left_(static_cast<std::int64_t>(bytes)) {}
  /// False, and nothing is taken, where so much is not left.
  bool take(std::size_t bytes);
  void give(std::size_t bytes);
  /// Whether something did not find room and nothing was given back since.
  [[nodiscard]] bool is_full() const { return full_; }

 private:
  std::atomic<std::int64_t> left_;
  std::atomic<bool> full_ = false;
};

/// Of a compressed file of one image: what was decoded of it, beside the hash of the file. Nothing
/// is lost: an image whose values do not fit 16 bits, or of more than 2048 x 2048 pixels, is not
/// kept. Thread-safe.
class KeptImage {
 public:
  explicit KeptImage(std::shared_ptr<KeptRoom> room) : room_(std::move(room)) {}
  ~KeptImage() { put(nullptr); }
  KeptImage(const KeptImage&) = delete;
  KeptImage& operator=(const KeptImage&) = delete;

  /// Whether an image could still be kept here.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool empty() const { return bytes() == 0; }
  /// Keep what was decoded of the file with this hash, where there is room.
  void keep(const Digest& hash, const DecodedFrame& frame);
  /// The frame as it was decoded, or nothing: none is kept, or of other bytes.
  [[nodiscard]] std::optional<DecodedFrame> find(const Digest& hash) const;
  void drop() { put(nullptr); }
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Content {
    Digest hash{};
    DecodedFrame frame;               ///< without its pixels and marks
    bool plain = false;               ///< where the pixels were
    std::vector<std::uint8_t> steps;  ///< pack_steps() of the pixels
    std::vector<bool> padding;        ///< the marks
    [[nodiscard]] std::size_t bytes() const;
  };

  void put(std::shared_ptr<const Content> content);

  std::shared_ptr<KeptRoom> room_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Content> content_;
};

/// Values as differences to the one before, a byte each; greater ones take three. CT takes little
/// more than half.
std::vector<std::uint8_t> pack_steps(std::span<const std::int16_t> values);
/// The `count` values of pack_steps().
void unpack_steps(std::span<const std::uint8_t> steps, std::span<std::int16_t> values);

}  // namespace wsp::dicom
