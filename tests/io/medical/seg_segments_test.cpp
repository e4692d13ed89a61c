// Which segment of a SEG object is the liver.
#include <gtest/gtest.h>

#include <numeric>

#include "mask_writer.hpp"
#include "seg_support.hpp"

namespace wsp {
namespace {

using test::code_of;
using test::named;
using test::Seg;

TEST_F(Seg, WhichSegment) {
  const test::SegSegment liver{1, "Organ A", "SCT", "10200004", ""};
  const test::SegSegment older{2, "Organ B", "SRT", "T-62000", ""};
  const test::SegSegment by_name{2, "Liver", "99X", "1", ""};
  const test::SegSegment tumour{3, "liver tumor", "99X", "2", ""};
  const auto code = [&](const std::vector<test::SegSegment>& segments, const MaskOptions& options) {
    auto seg = file({1});
    seg.segments = segments;
    for (auto& frame : seg.frames) frame.segment = segments.front().number;
    const auto mask = read(seg, options);
    return mask ? std::to_string(
                      std::accumulate(mask.value().voxels.begin(), mask.value().voxels.end(), 0))
                : code_of(mask);
  };
  EXPECT_EQ(code({liver}, {}), "8");
  EXPECT_EQ(code({older}, {}), "8");
  EXPECT_EQ(code({liver, older}, {}), "MASK_AMBIGUOUS");
  EXPECT_EQ(code({liver, older}, named("organ a")), "8");
  EXPECT_EQ(code({liver, by_name}, {}), "8");  // the code says more than the name
  EXPECT_EQ(code({by_name, tumour}, {}), "8");
  EXPECT_EQ(code({by_name, {4, "LIVER", "99X", "1", ""}}, {}), "MASK_AMBIGUOUS");
  EXPECT_EQ(code({tumour}, {}), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code({tumour}, named("liver tumor")), "8");
  EXPECT_EQ(code({{1, "Delivered dose", "99X", "1", ""}}, {}), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code({{1, "Organ", "SRT", "10200004", ""}}, {}), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code({{1, "CT-Liver v2", "99X", "1", ""}}, named("ct-liver V2")), "8");
  EXPECT_EQ(code({{1, "Organ", "99X", "1", "Liver"}}, {}), "8");  // by its description
  EXPECT_EQ(code({{1, "Liver", "99X", "1", ""}, {2, "Organ", "99X", "1", "liver"}}, {}), "8");
}

TEST_F(Seg, NamesThatAreTheLiverAndNamesThatHoldTheWord) {
  const auto code = [&](const std::string& label, const std::string& wanted) {
    auto seg = file({1});
    seg.edit = [](DcmDataset& d) { test::put_text(d, DCM_SpecificCharacterSet, "ISO_IR 192"); };
    seg.segments = {{1, label, "99X", "1", ""}};
    return code_of(read(seg, named(wanted)));
  };
  for (const char* name : {"Liver", "LIVER", " liver ", "liver_", "Whole Liver", "WHOLE_LIVER",
                           "whole-liver", "Liver_Total", "Liver, NOS"})
    EXPECT_EQ(code(name, "liver"), "USED") << name;
  for (const char* name : {"non-liver",
                           "Non liver",
                           "Liver_PRV5",
                           "zLiver",
                           "Liver artery",
                           "liver tumor",
                           "Liver-GTV",
                           "Liver-CTV",
                           "Normal Liver",
                           "Liver minus GTV",
                           "liver_lesion",
                           "liver right lobe",
                           "Liver_1",
                           "Liver2",
                           "Liver 5mm",
                           "Uninvolved liver",
                           "liver vessels",
                           "caudate",
                           "Delivered",
                           "Liver ring",
                           "extrahepatic liver",
                           "Leber"})
    EXPECT_EQ(code(name, "liver"), "NO_LIVER_SEGMENT") << name;
  // Other languages by name: whole, in any case.
  EXPECT_EQ(code("LEBER", "Leber"), "USED");
  EXPECT_EQ(code("Leber Tumor", "Leber"), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code("HÍGADO", "hígado"), "USED");
  EXPECT_EQ(code("fígado", "FÍGADO"), "USED");
  EXPECT_EQ(code("WĄTROBA", "wątroba"), "USED");
  EXPECT_EQ(code("Печень", "ПЕЧЕНЬ"), "USED");
  EXPECT_EQ(code("ΉΠΑΡ", "Ήπαρ"), "USED");
  EXPECT_EQ(code("Liver", "Leber"), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code("Liver", ""), "NO_LIVER_SEGMENT");
}

TEST_F(Seg, OfAnotherOrganItsOwnCodeAndNames) {
  MaskOptions options = named("lymph node");
  options.organ.name = "lymph node";
  options.organ.codes = {{"SCT", "59441001"}};
  const auto code = [&](const test::SegSegment& segment) {
    auto seg = file({1});
    seg.segments = {segment};
    return code_of(read(seg, options));
  };
  EXPECT_EQ(code({1, "A", "SCT", "59441001", ""}), "USED");
  EXPECT_EQ(code({1, "A", "SCT", "10200004", ""}), "NO_LIVER_SEGMENT");  // a liver
  for (const char* name : {"Lymph Node", "lymph_node", "Whole lymph-node", "Lymph node, NOS"})
    EXPECT_EQ(code({1, name, "99X", "1", ""}), "USED") << name;
  for (const char* name : {"Liver", "lymph node level 2", "lymph", "node"})
    EXPECT_EQ(code({1, name, "99X", "1", ""}), "NO_LIVER_SEGMENT") << name;
}

TEST_F(Seg, WhatItSaysOfNamesIsACount) {
  auto seg = file({1});
  seg.segments = {{1, "Jane Doe non-liver", "99X", "1", ""}, {2, "Spleen", "99X", "1", ""}};
  const auto mask = read(seg);
  ASSERT_EQ(code_of(mask), "NO_LIVER_SEGMENT");
  EXPECT_EQ(mask.rejection().detail,
            "none of 2 is coded or named liver; the word is in the names of 1: if one is the whole "
            "liver, give its full name to --liver-roi");
}

TEST_F(Seg, ACodedPartOrLesionIsNotTheLiver) {
  const auto code = [&](const std::function<void(DcmItem&)>& edit) {
    auto seg = file({1});
    seg.edit = [&](DcmDataset& d) { edit(test::sequence_item(d, DCM_SegmentSequence)); };
    return code_of(read(seg));
  };
  EXPECT_EQ(code([](DcmItem& segment) {
              test::put_code(segment, DCM_SegmentedPropertyCategoryCodeSequence, "SCT",
                             "123037004");  // anatomical structure
            }),
            "USED");
  EXPECT_EQ(code([](DcmItem& segment) {
              test::put_code(segment, DCM_SegmentedPropertyCategoryCodeSequence, "SCT",
                             "49755003");  // morphologically abnormal structure
            }),
            "NO_LIVER_SEGMENT");
  EXPECT_EQ(code([](DcmItem& segment) {
              test::put_code(test::sequence_item(segment, DCM_SegmentedPropertyTypeCodeSequence),
                             DCM_SegmentedPropertyTypeModifierCodeSequence, "SCT",
                             "24028007");  // right
            }),
            "NO_LIVER_SEGMENT");
}

}  // namespace
}  // namespace wsp
