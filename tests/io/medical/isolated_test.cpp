#include "io/medical/isolated.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace wsp {
namespace {

using dicom::DecodedFrame, dicom::FrameHeader, dicom::Header, dicom::NativePixels;

/// Whether a reader's answer is taken.
template <class T>
bool is_taken(const T& answer) {
  wire::Writer writer;
  writer.put(answer);
  try {
    wire::Reader reader(writer.bytes());
    (void)reader.get<T>();
    reader.finish();
    return true;
  } catch (const wire::Malformed&) {
    return false;
  }
}

template <class T>
void expect_refused(const T& sound, const std::vector<std::function<void(T&)>>& lies) {
  EXPECT_TRUE(is_taken(sound));
  for (std::size_t i = 0; i < lies.size(); ++i) {
    T lie = sound;
    lies[i](lie);
    EXPECT_FALSE(is_taken(lie)) << "lie " << i;
  }
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Isolated, WhatNoReaderAnswersIsNotTaken) {
  NativePixels native;
  native.format.columns = 4;
  native.format.rows = 3;
  native.format.stored = 12;
  native.format.high = 11;
  native.offset = 400;
  native.file_bytes = 424;
  expect_refused<NativePixels>(
      native,
      {[](auto& n) { n.file_bytes = 423; }, [](auto& n) { n.file_bytes = std::uint64_t{1} << 60; },
       [](auto& n) { n.format.columns = -4, n.format.rows = -3; },
       [](auto& n) { n.format.stored = 0; }, [](auto& n) { n.format.stored = 17; },
       [](auto& n) { n.format.high = 16; }, [](auto& n) { n.format.high = 10; },
       [](auto& n) { n.format.allocated = 8; },
       [](auto& n) { n.offset = 401, n.file_bytes = 425; }});
  Header header;
  header.columns = 4;
  header.rows = 3;
  header.planes.resize(1);
  header.native = std::make_shared<NativePixels>(native);
  NativePixels wrong = native;
  wrong.offset = 2;
  expect_refused<Header>(
      header,
      {[](auto& h) { h.rows = 65536; }, [](auto& h) { h.columns = -1; },
       [](auto& h) { h.frames = 0; }, [](auto& h) { h.frames = 1 << 30; },
       [](auto& h) { h.planes.resize(2); }, [](auto& h) { h.planes[0].frame = 1; },
       [](auto& h) { h.planes[0].frame = -1; }, [](auto& h) { h.planes[0].position[1] = kNan; },
       [](auto& h) { h.planes[0].pixel_x_mm = std::numeric_limits<double>::infinity(); },
       [](auto& h) { h.code = static_cast<Code>(100000); },
       [&](auto& h) { h.native = std::make_shared<NativePixels>(wrong); }});
  DecodedFrame frame;
  frame.columns = 4;
  frame.rows = 3;
  frame.stored.resize(12);
  frame.padding.resize(12);
  const std::vector<std::int16_t> words(12);
  expect_refused<DecodedFrame>(
      frame, {[](auto& f) { f.stored.pop_back(); }, [](auto& f) { f.padding.pop_back(); },
              [](auto& f) { f.rows = 4; }, [](auto& f) { f.rows = -3, f.columns = -4; },
              [&](auto& f) { f.plain.view = words; }});
  LiverMask mask;
  mask.geometry.size = {2, 2, 1};
  mask.voxels = {0, 1, 1, 0};
  expect_refused<LiverMask>(
      mask, {[](auto& m) { m.voxels[2] = 2; }, [](auto& m) { m.voxels.pop_back(); },
             [](auto& m) { m.geometry.size[2] = 0; }, [](auto& m) { m.geometry.size[0] = -2; },
             [](auto& m) { m.geometry.spacing_mm[0] = kNan; }});
}

TEST(Isolated, AFileThatWasLostIsNotTriedAgain) {
  const std::filesystem::path path = "/nowhere/lost";
  throw_known_loss(path);
  remember_loss(path, WorkerLost(true, "slow"));
  try {
    throw_known_loss(path);
    FAIL() << "it is tried again";
  } catch (const WorkerLost& lost) {
    EXPECT_EQ(refusal_of(lost, "read").code, Code::DECODER_TIMEOUT);
    EXPECT_EQ(refusal_of(lost, "read").detail, "slow");
  }
  throw_known_loss("/nowhere/another");
}

}  // namespace
}  // namespace wsp
