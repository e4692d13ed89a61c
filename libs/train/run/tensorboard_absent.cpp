// In place of tensorboard.cpp where protobuf is absent.
#include "io/core/error.hpp"
#include "train/run/tensorboard.hpp"

namespace wsp::train {
namespace {

// Never returns: no EventWriter comes into being in this build.
[[noreturn]] AppendFile refuse() {
  throw Error(ErrorCode::failure,
              "this build writes no TensorBoard files: install protobuf (libprotobuf-dev, "
              "protobuf-compiler) and configure with -DWSP_WITH_PROTOBUF=ON");
}

}  // namespace

bool tensorboard_available() { return false; }

EventWriter::EventWriter(std::filesystem::path directory, std::optional<std::int64_t>)
    : directory_(std::move(directory)), file_(refuse()) {}
EventWriter::~EventWriter() = default;
void EventWriter::add_scalar(std::string_view, std::int64_t, double) { refuse(); }
void EventWriter::add_image(std::string_view, std::int64_t, std::int64_t, std::int64_t,
                            std::span<const std::uint8_t>) {
  refuse();
}
void EventWriter::add_text(std::string_view, std::int64_t, std::string_view) { refuse(); }
void EventWriter::set_projection(const Projection&) { refuse(); }
void EventWriter::flush() { refuse(); }
void EventWriter::close() { refuse(); }

}  // namespace wsp::train
