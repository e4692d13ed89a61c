// Segmentations as NRRD: which label is the liver.
#include <gtest/gtest.h>

#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "nrrd_support.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::Fields;
using test::header;
using test::Nrrds;
using test::plain;
using test::shorts;
using test::write_text;

// 3D Slicer's segmentations.
class Segmentations : public Nrrds {
 protected:
  static LoadedVolume volume() {
    LoadedVolume ct;
    ct.volume.geometry = {{4, 3, 2}, {2, 3, 5}, {-8, 40, 100}, {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}};
    ct.volume.z_mm = {100, 105};
    ct.volume.slice_origin_mm = {{-8, 40, 100}, {-8, 40, 105}};
    ct.volume.hu.assign(24, 50);
    return ct;
  }
  // Values 0 to 3 in turn, so that each label has 6 voxels; names by value from 1.
  Outcome<LiverMask> read(const std::vector<std::string>& names, std::vector<std::int64_t> labels) {
    Fields fields = plain();
    fields["type"] = "unsigned char";
    std::string pairs, voxels;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string segment = "Segment" + std::to_string(i) + "_";
      pairs += segment + "LabelValue:=" + std::to_string(i + 1) + "\n" + segment + "Layer:=0\n";
      if (names[i] != "-") pairs += segment + "Name:=" + names[i] + "\n";
    }
    for (int i = 0; i < 24; ++i) voxels += static_cast<char>(i % 4);
    write_text(path("case.seg.nrrd"), header(fields, pairs) + voxels);
    MaskOptions options;
    options.liver_labels = std::move(labels);
    return read_mask_file(path("case.seg.nrrd"), volume(), options);
  }
  static std::string code_of(const Outcome<LiverMask>& mask) {
    return mask ? "USED" : std::string(to_string(mask.rejection().code));
  }
  // The value whose voxels make the mask; several are summed up as digits.
  static std::string values(const Outcome<LiverMask>& mask) {
    if (!mask) return code_of(mask);
    std::string found;
    for (std::size_t v = 0; v < 4; ++v) {
      const bool first = mask.value().voxels[v] != 0;
      for (std::size_t i = v; i < 24; i += 4) EXPECT_EQ(mask.value().voxels[i] != 0, first);
      if (first) found += std::to_string(v);
    }
    return found;
  }
};

TEST_F(Segmentations, TheNamedLiverIsTaken) {
  EXPECT_EQ(values(read({"spleen", "liver"}, {1})), "2");
  EXPECT_EQ(values(read({"spleen", "liver"}, {2})), "2");
  EXPECT_EQ(values(read({"liver", "tumor"}, {1, 2})), "12");  // asked for together
  EXPECT_EQ(values(read({"Liver"}, {1})), "1");
  // Names that say nothing leave it to the label.
  EXPECT_EQ(values(read({"Segment_1"}, {1})), "1");
  EXPECT_EQ(values(read({"Segment 1", "Segment_2"}, {2})), "2");
  EXPECT_EQ(values(read({"-", "-"}, {2})), "2");
  EXPECT_EQ(values(read({"spleen", "organ"}, {2})), "2");  // the user's word
  // And never a segment that is named otherwise.
  EXPECT_EQ(values(read({"spleen", "kidney"}, {1})), "NO_LIVER_SEGMENT");
  EXPECT_EQ(values(read({"spleen", "liver"}, {1, 3})), "MASK_AMBIGUOUS");
  EXPECT_EQ(values(read({"liver", "liver"}, {1})), "MASK_AMBIGUOUS");
}

TEST_F(Segmentations, LayersAreNamed) {
  Fields fields = plain();
  fields["type"] = "unsigned char";
  fields["dimension"] = "4";
  fields["sizes"] = "2 4 3 2";
  fields["kinds"] = "list domain domain domain";
  fields["space directions"] = "none (2,0,0) (0,3,0) (0,0,5)";
  write_text(path("two.seg.nrrd"),
             header(fields, "Segment0_ID:=Segment_1\nSegment0_Layer:=0\nSegment1_ID:=Segment_2\n") +
                 std::string(48, '\1'));
  const auto read = read_label_image(path("two.seg.nrrd"));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.rejection().code, Code::NOT_3D);
  EXPECT_NE(read.rejection().detail.find("overlap"), std::string::npos) << read.rejection().detail;
}

TEST_F(Segmentations, AHeaderMayBeLong) {
  std::string pairs;
  for (int i = 0; i < 500; ++i)
    pairs += "Segment" + std::to_string(i) + "_Tags:=" + std::string(400, 'x') + "\n";
  write_text(path("long.nrrd"), header(plain(), pairs) + shorts());
  ASSERT_GT(fs::file_size(path("long.nrrd")), 200000U);
  expect_plain(path("long.nrrd"));
}

TEST_F(Segmentations, ValuesThatAreNoLabelsAreRefused) {
  Fields fields = plain();
  fields["encoding"] = "ascii";
  fields["type"] = "float";
  const auto read = [&](const std::string& value) {
    std::string voxels;
    for (int i = 0; i < 23; ++i) voxels += "1 ";
    write_text(path("p.nrrd"), header(fields) + voxels + value);
    return read_label_image(path("p.nrrd"));
  };
  for (const char* value : {"0", "1", "1.00001", "0.9999", "-0.0001", "2e0"})
    EXPECT_TRUE(read(value)) << value;
  for (const char* value : {"0.5", "0.99", "nan", "inf", "1.01"}) {
    const auto labels = read(value);
    ASSERT_FALSE(labels) << value;
    EXPECT_EQ(labels.rejection().code, Code::MASK_UNREADABLE);
    EXPECT_NE(labels.rejection().detail.find("no whole number"), std::string::npos);
    EXPECT_TRUE(read_image_header(path("p.nrrd")));
  }
}

}  // namespace
}  // namespace wsp
