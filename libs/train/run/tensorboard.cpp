#include "train/run/tensorboard.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/png.hpp"
#include "tensorboard_events.pb.h"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
namespace tb = wsp::tensorboard;

constexpr std::size_t kFlushBytes = 256 << 10;
constexpr std::string_view kFilePrefix = "events.out.tfevents.";
constexpr std::int32_t kStringType = 7;
// Browsers refuse larger textures, and so does the projector.
constexpr std::int64_t kLargestSprite = 8192;

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) != 0 ? 0x82f63b78U : 0U);
    table[i] = value;
  }
  return table;
}();

void append_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xffU));
}

// A CRC over bytes that hold their own CRC says little: TFRecord files rotate it and add a
// constant.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  std::string text = name.data();
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

// Seconds in the names of event files. TensorBoard reads the files of a directory in the order of
// their names and never goes back: the new one must sort last even within a second or after a clock
// was set back.
std::int64_t next_file_second(const fs::path& directory) {
  auto second = static_cast<std::int64_t>(wall_time());
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kFilePrefix)) continue;
    std::int64_t found = 0;
    const char* begin = name.data() + kFilePrefix.size();
    const auto [end, error] = std::from_chars(begin, name.data() + name.size(), found);
    if (error == std::errc() && end != begin && found < 9'999'999'999)
      second = std::max(second, found + 1);
  }
  return second;
}

AppendFile open_event_file(const fs::path& directory) {
  try {
    fs::create_directories(directory);
    return {directory / fmt::format("{}{:010}.{}.{}.0", kFilePrefix, next_file_second(directory),
                                    host_name(), ::getpid()),
            AppendFile::Open::create_new};
  } catch (const fs::filesystem_error& e) {
    throw Error(ErrorCode::output,
                std::string("cannot make the directory of TensorBoard logs: ") + e.what());
  }
}

tb::Event new_event(std::int64_t step) {
  tb::Event event;
  event.set_wall_time(wall_time());
  event.set_step(step);
  return event;
}

void check_projection(const Projection& p) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (p.name.empty() || p.name.front() == '.' ||
      !std::all_of(p.name.begin(), p.name.end(), allowed))
    throw Error(ErrorCode::usage,
                "a projection's name consists of letters, digits, '-', '_' and "
                "'.', found '" +
                    p.name + "'");
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::usage, "projection " + p.name + ": " + what);
  };
  if (p.dim < 1 || p.points.empty() || p.points.size() % static_cast<std::size_t>(p.dim) != 0)
    fail(fmt::format("{} values are no points of {} dimensions", p.points.size(), p.dim));
  const std::size_t n = p.points.size() / static_cast<std::size_t>(p.dim);
  if (!p.columns.empty() && p.rows.size() != n)
    fail(fmt::format("{} rows of metadata for {} points", p.rows.size(), n));
  for (const auto& row : p.rows)
    if (row.size() != p.columns.size())
      fail(fmt::format("a row of {} values for {} columns", row.size(), p.columns.size()));
  if (p.thumbnail_size < 0 ||
      p.thumbnails.size() != n * static_cast<std::size_t>(p.thumbnail_size * p.thumbnail_size))
    fail(fmt::format("{} bytes of thumbnails for {} points", p.thumbnails.size(), n));
}

std::string tensors_tsv(const Projection& p) {
  std::string text;
  const auto dim = static_cast<std::size_t>(p.dim);
  for (std::size_t i = 0; i < p.points.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}", p.points[i]);
    text += (i + 1) % dim == 0 ? '\n' : '\t';
  }
  return text;
}

std::string metadata_tsv(const Projection& p) {
  std::string text;
  const auto add_row = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += '\t';
      for (const char c : row[i]) text += c == '\t' || c == '\n' || c == '\r' ? ' ' : c;
    }
    text += '\n';
  };
  // The projector takes the first line of a single column for a point, not for a title.
  if (p.columns.size() > 1) add_row(p.columns);
  for (const auto& row : p.rows) add_row(row);
  return text;
}

// All thumbnails in one square grid, row by row.
std::string sprite_png(const Projection& p) {
  const std::int64_t side = p.thumbnail_size;
  const auto n = static_cast<std::int64_t>(p.points.size()) / p.dim;
  const auto across = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(n))));
  const std::int64_t width = across * side;
  if (width > kLargestSprite)
    throw Error(
        ErrorCode::usage,
        fmt::format("projection {}: {} thumbnails of {} pixels make a picture wider than the "
                    "{} that browsers show: make them smaller or show fewer",
                    p.name, n, side, kLargestSprite));
  std::vector<std::uint8_t> sprite(static_cast<std::size_t>(width * width));
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t y = 0; y < side; ++y)
      std::copy_n(p.thumbnails.begin() + (i * side + y) * side, side,
                  sprite.begin() + ((i / across) * side + y) * width + (i % across) * side);
  return encode_grey_png(width, width, sprite);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char c : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xffU];
  return ~crc;
}

std::string frame_record(std::string_view data) {
  std::string out;
  out.reserve(data.size() + 16);
  append_little_endian(out, data.size(), 8);
  append_little_endian(out, masked_crc(out), 4);
  out += data;
  append_little_endian(out, masked_crc(data), 4);
  return out;
}

bool tensorboard_available() { return true; }

EventWriter::EventWriter(fs::path directory, std::optional<std::int64_t> resumed_at)
    : directory_(std::move(directory)), file_(open_event_file(directory_)) {
  tb::Event version = new_event(0);
  version.set_file_version("brain.Event:2");
  add(version.SerializeAsString());
  if (resumed_at) {
    tb::Event start = new_event(*resumed_at);
    start.mutable_session_log()->set_status(tb::SessionLog::START);
    add(start.SerializeAsString());
  }
  flush();
}

EventWriter::~EventWriter() {
  if (closed_) return;
  try {
    flush();
  } catch (...) {  // A destructor has nobody to tell.
  }
}

void EventWriter::add_scalar(std::string_view tag, std::int64_t step, double value) {
  tb::Event event = new_event(step);
  tb::Summary::Value* entry = event.mutable_summary()->add_value();
  entry->set_tag(std::string(tag));
  entry->set_simple_value(static_cast<float>(value));
  add(event.SerializeAsString());
}

void EventWriter::add_image(std::string_view tag, std::int64_t step, std::int64_t width,
                            std::int64_t height, std::span<const std::uint8_t> pixels) {
  tb::Event event = new_event(step);
  tb::Summary::Value* entry = event.mutable_summary()->add_value();
  entry->set_tag(std::string(tag));
  tb::Summary::Image* image = entry->mutable_image();
  image->set_encoded_image_string(encode_grey_png(width, height, pixels));
  image->set_width(static_cast<std::int32_t>(width));
  image->set_height(static_cast<std::int32_t>(height));
  image->set_colorspace(1);
  add(event.SerializeAsString());
}

void EventWriter::add_text(std::string_view tag, std::int64_t step, std::string_view markdown) {
  tb::Event event = new_event(step);
  tb::Summary::Value* entry = event.mutable_summary()->add_value();
  entry->set_tag(std::string(tag));
  entry->mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  tb::TensorProto* tensor = entry->mutable_tensor();
  tensor->set_dtype(kStringType);
  tensor->mutable_tensor_shape()->add_dim()->set_size(1);
  tensor->add_string_val(std::string(markdown));
  add(event.SerializeAsString());
}

fs::path EventWriter::projector_directory() const {
  return directory_ / "plugins" / "org_tensorflow_tensorboard_projector";
}

void EventWriter::set_projection(const Projection& projection) {
  check_projection(projection);
  const fs::path root = projector_directory();
  std::error_code ec;
  fs::create_directories(root / projection.name, ec);
  if (ec)
    throw Error(ErrorCode::output, "cannot make the directory of a projection " +
                                       (root / projection.name).string() + ": " + ec.message());
  // 1. The files of this projection.
  const fs::path place = root / projection.name;
  write_file_atomic(place / "tensors.tsv", tensors_tsv(projection));
  if (projection.columns.empty())
    fs::remove(place / "metadata.tsv", ec);
  else
    write_file_atomic(place / "metadata.tsv", metadata_tsv(projection));
  if (projection.thumbnail_size == 0 || !png_available()) {
    fs::remove(place / "sprite.png", ec);
    fs::remove(place / "sprite.size", ec);
  } else {
    write_file_atomic(place / "sprite.png", sprite_png(projection));
    write_file_atomic(place / "sprite.size", fmt::format("{}\n", projection.thumbnail_size));
  }
  // 2. The list of all projections there, those of earlier writers too, from what lies on disk.
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(root, ec))
    if (fs::exists(entry.path() / "tensors.tsv")) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  std::string config;
  for (const std::string& name : names) {
    config += fmt::format(
        "embeddings {{\n  tensor_name: \"{0}\"\n  tensor_path: \"{0}/tensors.tsv\"\n", name);
    if (fs::exists(root / name / "metadata.tsv"))
      config += fmt::format("  metadata_path: \"{}/metadata.tsv\"\n", name);
    if (fs::exists(root / name / "sprite.size")) {
      const int side = std::atoi(read_file(root / name / "sprite.size").c_str());
      config += fmt::format(
          "  sprite {{\n    image_path: \"{0}/sprite.png\"\n"
          "    single_image_dim: {1}\n    single_image_dim: {1}\n  }}\n",
          name, side);
    }
    config += "}\n";
  }
  write_file_atomic(root / "projector_config.pbtxt", config);
}

void EventWriter::add(std::string_view serialised) {
  pending_ += frame_record(serialised);
  if (pending_.size() >= kFlushBytes) flush();
}

void EventWriter::flush() {
  if (pending_.empty()) return;
  file_.append(pending_);
  pending_.clear();
}

void EventWriter::close() {
  flush();
  closed_ = true;
  file_.close();
}

}  // namespace wsp::train
