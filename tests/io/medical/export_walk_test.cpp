// What lies in an export: links, circles, names, globs, archives. EIO is met in tests/cli/walk.py.
#include "io/medical/export_walk.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using Codes = std::map<std::string, std::string>;

class ExportWalk : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& content = "x") const {
    const fs::path path = here_.path() / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  void link(const std::string& to, const std::string& name) const {
    fs::create_directories((here_.path() / name).parent_path());
    fs::create_symlink(to, here_.path() / name);
  }
  Codes codes(const WalkOptions& options = {}, const char* below = "in") const {
    fs::path root = here_.path() / below;
    Codes found;
    std::string last;
    for (const FileEntry& file : list_files(root, options)) {
      EXPECT_TRUE(last.empty() || last < file.relative_path) << "sorted, each path once";
      last = file.relative_path;
      found[file.relative_path] = std::string(to_string(file.code));
    }
    return found;
  }
  test::TemporaryDirectory here_;
};

TEST_F(ExportWalk, LinksToDirectoriesAreNamedOrFollowed) {
  write("in/a/1");
  write("store/p/2");
  write("store/p/q/3");
  link("../store/p", "in/patient");
  link("a", "in/again");  // read anyway
  link("..", "in/a/up");  // a circle
  link("../../in", "store/p/back");
  EXPECT_EQ(codes(), (Codes{{"a/1", "USED"},
                            {"a/up", "DUPLICATE_FILE"},
                            {"again", "DUPLICATE_FILE"},
                            {"patient", "LINK_NOT_FOLLOWED"}}));
  EXPECT_EQ(codes({true, {}}), (Codes{{"a/1", "USED"},
                                      {"a/up", "DUPLICATE_FILE"},
                                      {"again", "DUPLICATE_FILE"},
                                      {"patient/2", "USED"},
                                      {"patient/back", "DUPLICATE_FILE"},
                                      {"patient/q/3", "USED"}}));
}

TEST_F(ExportWalk, OneDirectoryBehindTwoLinksIsReadOnce) {
  write("store/1");
  link("../store", "in/b");
  link("../store", "in/a");
  EXPECT_EQ(codes({true, {}}), (Codes{{"a/1", "USED"}, {"b", "DUPLICATE_FILE"}}));
  EXPECT_EQ(codes(), (Codes{{"a", "LINK_NOT_FOLLOWED"}, {"b", "LINK_NOT_FOLLOWED"}}));
}

TEST_F(ExportWalk, ALinkAboveTheExportFindsItsNeighboursOnce) {
  write("in/a/1");
  write("other/2");
  link("../..", "in/a/up");
  EXPECT_EQ(codes({true, {}}),
            (Codes{{"a/1", "USED"}, {"a/up/in", "DUPLICATE_FILE"}, {"a/up/other/2", "USED"}}));
}

TEST_F(ExportWalk, AFileThatLinksLeadToCountsOnce) {
  write("in/b.nii");
  link("b.nii", "in/a.nii");
  write("in/.git/annex/objects/key.nii");
  link(".git/annex/objects/key.nii", "in/sub-1.nii");
  write("out.nii");
  link("../out.nii", "in/y.nii");
  link("../out.nii", "in/x.nii");
  write("in/alone.nii");
  EXPECT_EQ(codes(), (Codes{{".git/annex/objects/key.nii", "DUPLICATE_FILE"},
                            {"a.nii", "DUPLICATE_FILE"},
                            {"alone.nii", "USED"},
                            {"b.nii", "USED"},
                            {"sub-1.nii", "USED"},
                            {"x.nii", "USED"},
                            {"y.nii", "DUPLICATE_FILE"}}));
  WalkOptions every;
  every.once = false;
  EXPECT_EQ(codes(every).at("a.nii"), "USED");
  // What is excluded takes no place.
  EXPECT_EQ(codes({false, {"b.nii"}}).at("a.nii"), "USED");
}

TEST_F(ExportWalk, WhatIsNoFileIsNamedAndNeverOpened) {
  write("in/empty", "");
  link("gone", "in/dangling");
  link("circle", "in/circle");
  link("empty/x", "in/through");
  ASSERT_EQ(::mkfifo((here_.path() / "in/fifo").c_str(), 0600), 0);
  link("fifo", "in/pipe");
  link("/dev/zero", "in/device");
  EXPECT_EQ(codes(), (Codes{{"circle", "DANGLING_LINK"},
                            {"dangling", "DANGLING_LINK"},
                            {"device", "NOT_DICOM"},
                            {"empty", "USED"},
                            {"fifo", "NOT_DICOM"},
                            {"pipe", "NOT_DICOM"},
                            {"through", "DANGLING_LINK"}}));
  EXPECT_EQ(codes({}, "in/fifo"), (Codes{{"fifo", "NOT_DICOM"}}));
  EXPECT_THROW(codes({}, "in/dangling"), Error);
  EXPECT_THROW(codes({}, "nowhere"), Error);
}

TEST_F(ExportWalk, AnyNameIsAName) {
  const std::string longest(255, 'n');
  for (const std::string& name :
       {std::string("\xff\xfe"), std::string("a\nb"), std::string("\x1b[31m"), longest,
        std::string(" "), std::string("*")})
    write("in/" + name);
  const Codes found = codes();
  EXPECT_EQ(found.size(), 6U);
  EXPECT_EQ(found.count("\xff\xfe"), 1U);
}

TEST_F(ExportWalk, ADirectoryDeeperThanAPathMayBeIsNamed) {
  // Made step by step: no path as long as the whole can be given.
  const std::string step(200, 'd');
  const fs::path before = fs::current_path();
  fs::create_directories(here_.path() / "in");
  fs::current_path(here_.path() / "in");
  for (int i = 0; i < 25; ++i) {
    fs::create_directory(step);
    ASSERT_EQ(::chdir(step.c_str()), 0);
  }
  ASSERT_EQ(::chdir(before.c_str()), 0);
  const Codes found = codes();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.begin()->second, "UNREADABLE_DIRECTORY");
}

TEST_F(ExportWalk, GlobsExclude) {
  for (const char* name :
       {"a/1.dcm", "a/seg/2.dcm", "b/x_seg.nii.gz", "b/x.nii.gz", "labelsTr/3.nii", "seg"})
    write(std::string("in/") + name);
  const auto kept = [&](std::vector<std::string> globs) {
    std::string text;
    for (const auto& [path, code] : codes({false, std::move(globs)})) {
      EXPECT_TRUE(code == "USED" || code == "EXCLUDED");
      if (code == "USED") text += (text.empty() ? "" : " ") + path;
    }
    return text;
  };
  EXPECT_EQ(kept({}), "a/1.dcm a/seg/2.dcm b/x.nii.gz b/x_seg.nii.gz labelsTr/3.nii seg");
  EXPECT_EQ(kept({"*_seg.nii.gz"}), "a/1.dcm a/seg/2.dcm b/x.nii.gz labelsTr/3.nii seg");
  EXPECT_EQ(kept({"seg"}), "a/1.dcm b/x.nii.gz b/x_seg.nii.gz labelsTr/3.nii");
  EXPECT_EQ(kept({"seg/"}), "a/1.dcm b/x.nii.gz b/x_seg.nii.gz labelsTr/3.nii seg");
  EXPECT_EQ(kept({"/seg"}), "a/1.dcm a/seg/2.dcm b/x.nii.gz b/x_seg.nii.gz labelsTr/3.nii");
  EXPECT_EQ(kept({"a"}), "b/x.nii.gz b/x_seg.nii.gz labelsTr/3.nii seg");
  EXPECT_EQ(kept({"./a/*.dcm"}), "b/x.nii.gz b/x_seg.nii.gz labelsTr/3.nii seg");
  EXPECT_EQ(kept({"labels?[r]/", "b/x[._]*"}), "a/1.dcm a/seg/2.dcm seg");
  EXPECT_EQ(kept({"*"}), "");
  EXPECT_EQ(kept({"", "[", "nothing"}), kept({}));
}

TEST_F(ExportWalk, AnExcludedLinkAndItsDirectory) {
  write("store/1");
  link("../store", "in/old");
  link("gone", "in/old2");
  EXPECT_EQ(codes({false, {"old*"}}), (Codes{{"old", "EXCLUDED"}, {"old2", "EXCLUDED"}}));
  EXPECT_EQ(codes({true, {"old/"}}), (Codes{{"old/1", "EXCLUDED"}, {"old2", "DANGLING_LINK"}}));
}

TEST_F(ExportWalk, PackedFilesAreKnownByMagicAndByName) {
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  std::string iso(0x8001 + 5, '\0');
  iso.replace(0x8001, 5, "CD001");
  const std::map<std::string, std::pair<std::string, std::string>> table{
      {"a", {"PK\x03\x04rest", "zip"}},
      {"b.dcm", {"PK\x03\x04rest", "zip"}},
      {"c", {tar, "tar"}},
      {"d", {iso, "iso"}},
      {"e.dcm.gz", {"\x1f\x8b\x08", "gzip"}},
      {"f", {"BZh91AY", "bzip2"}},
      {"g",
       {std::string("\xfd"
                    "7zXZ\0",
                    6),
        "xz"}},
      {"h", {"\x28\xb5\x2f\xfd", "zstd"}},
      {"i", {"7z\xbc\xaf\x27\x1c", "7z"}},
      {"j", {"Rar!\x1a\x07\x01", "rar"}},
      {"K.TAR", {"old tar", "by its name"}},
      {"l.zip.001", {"part", "by its name"}},
      {"m.z01", {"part", "by its name"}},
      {"n.r00", {"part", "by its name"}},
      {"letter.docx", {"PK\x03\x04rest", ""}},
      {"scores.XLSX", {"PK\x03\x04rest", ""}},
      {"IM.001", {"no archive", ""}},
      {"001", {"no archive", ""}},
      {"zip", {"no archive", ""}},
      {"notes.txt", {"PKW", ""}},
      {"short", {"P", ""}},
  };
  for (const auto& [name, expected] : table) {
    write(name, expected.first);
    EXPECT_EQ(archive_kind(here_.path() / name).value_or(""), expected.second) << name;
  }
}

TEST_F(ExportWalk, AppleDoubleIsKnownByNameAndMagic) {
  const std::string magic("\x00\x05\x16\x07\x00", 5);
  write("._a.dcm", magic);
  write("a.dcm", magic);
  write("._b.dcm", "DICM");
  EXPECT_TRUE(is_apple_double(here_.path() / "._a.dcm"));
  EXPECT_FALSE(is_apple_double(here_.path() / "a.dcm"));
  EXPECT_FALSE(is_apple_double(here_.path() / "._b.dcm"));
}

TEST_F(ExportWalk, MaskDirectoriesNameEverything) {
  write("in/P1.nii.gz");
  write("in/._P1.nii.gz", std::string("\x00\x05\x16\x07", 4));
  write("in/.hidden.nii");
  write("in/README.txt");
  write("in/all.zip", "PK\x03\x04");
  write("in/seg.dcm", std::string(128, '\0') + "DICM");
  write("store/P2.nii");
  link("../store", "in/more");
  link("P1.nii.gz", "in/P3.nii.gz");
  Codes found;
  for (const FileEntry& file : list_mask_files(here_.path() / "in", false))
    found[file.relative_path] = std::string(to_string(file.code));
  EXPECT_EQ(found, (Codes{{"._P1.nii.gz", "APPLEDOUBLE"},
                          {".hidden.nii", "NOT_DICOM"},
                          {"P1.nii.gz", "USED"},
                          {"P3.nii.gz", "USED"},
                          {"README.txt", "NOT_DICOM"},
                          {"all.zip", "ARCHIVE"},
                          {"more", "LINK_NOT_FOLLOWED"},
                          {"seg.dcm", "MASK_UNREFERENCED"}}));
  EXPECT_EQ(list_mask_files(here_.path() / "in", true).size(), 8U);
}

}  // namespace
}  // namespace wsp
