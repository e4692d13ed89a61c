#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/run/append_file.hpp"

namespace wsp::train {

/// CRC-32C (Castagnoli) of bytes; the checksum of TFRecord files.
std::uint32_t crc32c(std::string_view bytes);

/// One TFRecord: length, masked CRC of the length, data, masked CRC of the data; little-endian.
std::string frame_record(std::string_view data);

/// Whether this build writes TensorBoard files; without protobuf EventWriter refuses to be made.
bool tensorboard_available();

/// Points for TensorBoard's embedding projector.
struct Projection {
  std::string name;           ///< name in the projector's menu; letters, digits, '-', '_', '.'
  std::int64_t dim = 0;       ///< dimensions of a point, at least 1
  std::vector<float> points;  ///< [n][dim]
  std::vector<std::string> columns;            ///< names of what is known of each point
  std::vector<std::vector<std::string>> rows;  ///< [n][columns]; tabs and line ends become spaces
  std::int64_t thumbnail_size = 0;             ///< side of the thumbnails; 0: none
  std::vector<std::uint8_t> thumbnails;        ///< [n][thumbnail_size][thumbnail_size] grey
};

/// Writes what TensorBoard shows of a run: scalars, images, text into an event file, and the
/// embedding projector's files beside it. Every writer opens a file of its own that sorts after
/// those there, as TensorBoard expects of a run that is resumed. Records are whole or absent, also
/// on a full disk. Not thread-safe; one writer a directory at a time.
class EventWriter {
 public:
  /// Make `directory` where absent and open an event file in it. A resumed run names the first step
  /// that it will log in `resumed_at`; TensorBoard then drops what an interrupted run logged from
  /// there on. Throws Error(output); Error(failure) in a build without protobuf.
  explicit EventWriter(std::filesystem::path directory,
                       std::optional<std::int64_t> resumed_at = std::nullopt);
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;
  /// Flushes without a word; call close() to learn of failures.
  ~EventWriter();

  /// A point of a curve; "loss/train" stands in group "loss". Not-a-number is shown as such.
  void add_scalar(std::string_view tag, std::int64_t step, double value);
  /// A grey image, [height][width]. Throws Error(failure) in a build without libpng.
  void add_image(std::string_view tag, std::int64_t step, std::int64_t width, std::int64_t height,
                 std::span<const std::uint8_t> pixels);
  /// A text, shown as Markdown.
  void add_text(std::string_view tag, std::int64_t step, std::string_view markdown);
  /// Publish the projection in place of one of the same name; others stay. Written at once.
  /// Throws Error(usage) for a name or sizes that do not fit, Error(output).
  void set_projection(const Projection& projection);

  /// Hand what was added to the file. After an error the events are kept, and may be flushed again.
  /// Happens by itself every 256 KiB.
  void flush();
  /// Flush, sync, close. Throws Error(output).
  void close();
  [[nodiscard]] const std::filesystem::path& event_file() const { return file_.path(); }
  /// Where set_projection() writes.
  [[nodiscard]] std::filesystem::path projector_directory() const;

 private:
  void add(std::string_view serialised);

  std::filesystem::path directory_;
  AppendFile file_;
  std::string pending_;
  bool closed_ = false;
};

}  // namespace wsp::train
