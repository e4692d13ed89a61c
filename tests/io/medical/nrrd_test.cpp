// NRRD headers against explicit numbers: spaces, units, where the voxels lie and how they are
// packed. Every file is written here as text.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "io/medical/image_file.hpp"
#include "nrrd_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::Fields;
using test::header;
using test::Nrrds;
using test::plain;
using test::shorts;
using test::write_text;

std::string gzip(const std::string& text) {
  const test::TemporaryDirectory here;
  const std::string path = (here.path() / "z").string();
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(Nrrds, EverySpaceAndOrderOfAxesGivesTheSameVolume) {
  struct Named {
    const char* name;
    double left, posterior;
  };
  int files = 0;
  for (const auto& [name, left, posterior] : {Named{"left-posterior-superior", 1, 1},
                                              {"LPS", 1, 1},
                                              {"lps", 1, 1},
                                              {"right-anterior-superior", -1, -1},
                                              {"Right-Anterior-Superior", -1, -1},
                                              {"RAS", -1, -1},
                                              {"left-anterior-superior", 1, -1},
                                              {"LAS", 1, -1}}) {
    std::array<std::size_t, 3> order{0, 1, 2};
    do {
      for (int flips = 0; flips < 8; ++flips) {
        const std::array<std::int64_t, 3> size{4, 3, 2};
        const Vec3 step{2, 3, 5};
        Vec3 origin{-8, 40, 100};
        std::string directions, voxels;
        const Vec3 sign{left, posterior, 1};
        std::string sizes;
        for (std::size_t k = 0; k < 3; ++k) {
          const std::size_t w = order[k];  // the world's axis of file axis k
          const bool flip = (flips >> k & 1) != 0;
          if (flip) origin[w] += static_cast<double>(size[w] - 1) * step[w];
          Vec3 d{0, 0, 0};
          d[w] = (flip ? -1 : 1) * step[w] * sign[w];
          std::ostringstream one;
          one << '(' << d[0] << ',' << d[1] << ", " << d[2] << ") ";
          directions += one.str();
          sizes += std::to_string(size[w]) + ' ';
        }
        for (std::int64_t c = 0; c < size[order[2]]; ++c)
          for (std::int64_t b = 0; b < size[order[1]]; ++b)
            for (std::int64_t a = 0; a < size[order[0]]; ++a) {
              std::array<std::int64_t, 3> at{};
              const std::array<std::int64_t, 3> file{a, b, c};
              for (std::size_t k = 0; k < 3; ++k)
                at[order[k]] = (flips >> k & 1) != 0 ? size[order[k]] - 1 - file[k] : file[k];
              voxels += shorts(1, static_cast<std::size_t>((at[2] * 3 + at[1]) * 4 + at[0]));
            }
        std::ostringstream at;
        at << '(' << sign[0] * origin[0] << ',' << sign[1] * origin[1] << ',' << origin[2] << ')';
        Fields fields = plain();
        fields["space"] = name;
        fields["sizes"] = sizes;
        fields["space directions"] = directions;
        fields["space origin"] = at.str();
        write_text(path("turned.nrrd"), header(fields) + voxels);
        expect_plain(path("turned.nrrd"));
        ++files;
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
  EXPECT_EQ(files, 8 * 6 * 8);
}

TEST_F(Nrrds, SpacesThatDoNotNameThePatientAreRefused) {
  Fields fields = plain();
  for (const char* name : {"scanner-xyz", "scanner-xyz-time", "ScannerXYZ", "3D-right-handed",
                           "3D-left-handed", "3D-right-handed-time", "left-posterior-inferior"}) {
    fields["space"] = name;
    EXPECT_EQ(code(fields), "NO_AFFINE") << name;
    EXPECT_NE(detail_.find("space"), std::string::npos) << detail_;
  }
  fields.erase("space");
  EXPECT_EQ(code(fields), "NO_AFFINE");
  fields["space dimension"] = "3";
  EXPECT_EQ(code(fields), "NO_AFFINE");
  EXPECT_NE(detail_.find("space dimension"), std::string::npos) << detail_;
  fields = plain();
  fields.erase("space directions");
  fields["spacings"] = "2 3 5";
  EXPECT_EQ(code(fields), "NO_AFFINE");
  fields = plain();
  fields.erase("space origin");
  EXPECT_EQ(code(fields), "NO_AFFINE");
}

TEST_F(Nrrds, UnitsBecomeMillimetres) {
  const auto in_unit = [&](const std::string& unit, const char* directions, const char* origin) {
    Fields fields = plain();
    fields["space units"] = unit;
    fields["space directions"] = directions;
    fields["space origin"] = origin;
    write_text(path("unit.nrrd"), header(fields) + shorts());
    expect_plain(path("unit.nrrd"));
  };
  in_unit(R"("mm" "mm" "mm")", "(2,0,0) (0,3,0) (0,0,5)", "(-8,40,100)");
  in_unit(R"("" "" "")", "(2,0,0) (0,3,0) (0,0,5)", "(-8,40,100)");
  in_unit(R"("cm" "cm" "cm")", "(.2,0,0) (0,.3,0) (0,0,.5)", "(-.8,4,10)");
  in_unit(R"("m" "m" "m")", "(.002,0,0) (0,3e-3,0) (0,0,5e-3)", "(-.008,.04,.1)");
  in_unit(R"("um" "um" "um")", "(2e3,0,0) (0,3000,0) (0,0,5000)", "(-8000,+40000,1e5)");
  in_unit("\"\xc2\xb5m\" \"\xce\xbcm\" \"micron\"", "(2e3,0,0) (0,3000,0) (0,0,5000)",
          "(-8000,40000,1e5)");
  in_unit(R"("mm" "mm" "cm")", "(2,0,0) (0,3,0) (0,0,.5)", "(-8,40,10)");
  Fields fields = plain();
  for (const char* unit : {R"("inch" "inch" "inch")", R"("km" "km" "km")", "mm mm mm", R"("mm")"}) {
    fields["space units"] = unit;
    EXPECT_EQ(code(fields), "BAD_HEADER") << unit;
    EXPECT_NE(detail_.find("unit"), std::string::npos) << detail_;
  }
  // An unnamed unit that no body's voxels have.
  fields = plain();
  fields["space directions"] = "(2e-3,0,0) (0,3e-3,0) (0,0,5e-3)";
  EXPECT_EQ(code(fields), "BAD_HEADER");
  EXPECT_NE(detail_.find("unit of length"), std::string::npos) << detail_;
  fields["space directions"] = "(2000,0,0) (0,3000,0) (0,0,5000)";
  EXPECT_EQ(code(fields), "BAD_HEADER");
}

TEST_F(Nrrds, WhatDoesNotChangeTheGridIsHarmless) {
  Fields fields = plain();
  fields["measurement frame"] = "(0,1,0) (1,0,0) (0,0,1)";
  fields["centerings"] = "cell cell cell";
  fields["thicknesses"] = "nan nan 4";
  fields["kinds"] = "domain domain domain";
  fields["old min"] = "-3";
  fields["content"] = "space: scanner-xyz";
  fields["sample units"] = "\"HU\"";
  write_text(path("a.nrrd"), header(fields, "key:=space: RAS\nspace:=RAS\n") + shorts());
  expect_plain(path("a.nrrd"));
  std::string dos = header(plain());
  for (std::size_t at = 0; (at = dos.find('\n', at)) != std::string::npos; at += 2)
    dos.insert(at, "\r");
  write_text(path("dos.nhdr"), dos.substr(0, dos.size() - 2) + "data file: dos.raw\r\n");
  write_text(path("dos.raw"), shorts());
  expect_plain(path("dos.nhdr"));
  fields = plain();
  fields["centers"] = "node node node";
  write_text(path("LARGE.NRRD"), header(fields) + shorts());
  expect_plain(path("LARGE.NRRD"));
}

TEST_F(Nrrds, NumbersAreReadWhole) {
  const auto with = [&](const char* field, const char* value) {
    Fields fields = plain();
    fields[field] = value;
    return code(fields);
  };
  EXPECT_EQ(with("space directions", "(2,0,0) (0,3,0) (0,0,5"), "BAD_HEADER");
  EXPECT_EQ(with("space directions", "(2,0,0) (0,3,0)"), "BAD_HEADER");
  EXPECT_EQ(with("space directions", "(2,0,0) (0,3,0) (0,0)"), "BAD_HEADER");
  EXPECT_EQ(with("space directions", "(2,0,0) (0,3,0) (0,0,5mm)"), "BAD_HEADER");
  EXPECT_EQ(with("space directions", "(2,0,0) (0,3,0) (0,0,nan)"), "BAD_HEADER");
  EXPECT_EQ(with("space directions", "(2,0,0) (0,3,0) none"), "NO_AFFINE");
  EXPECT_EQ(with("space origin", "(-8,40)"), "BAD_HEADER");
  EXPECT_EQ(with("space origin", "(-8,40,1x)"), "BAD_HEADER");
  EXPECT_EQ(with("sizes", "4 3 2.5"), "BAD_HEADER");
  EXPECT_EQ(with("sizes", "4 3"), "BAD_HEADER");
  EXPECT_EQ(with("dimension", "4"), "BAD_HEADER");
  EXPECT_EQ(with("type", "char pointer"), "BAD_HEADER");
  EXPECT_EQ(with("encoding", "zrl"), "UNSUPPORTED_ENCODING");
  EXPECT_EQ(code(plain(), "space: RAS\n"), "BAD_HEADER");  // twice
  EXPECT_EQ(code(plain(), "space: left-posterior-superior\n"), "BAD_HEADER");
}

// Fields of any length, which take libraries down.
TEST_F(Nrrds, LongFields) {
  Fields fields = plain();
  const std::string zeros(100000, '0');
  fields["space origin"] = "(-8." + zeros + ",40,100." + zeros + ")";
  write_text(path("long.nrrd"), header(fields) + shorts());
  expect_plain(path("long.nrrd"));
  fields["space origin"] = "(" + zeros + "1" + zeros + ",40,100)";
  EXPECT_EQ(code(fields), "BAD_HEADER");
  for (const char* field : {"space directions", "space origin", "sizes", "type", "space units"}) {
    fields = plain();
    fields[field] = std::string(200000, '(');
    EXPECT_EQ(code(fields), "BAD_HEADER") << field;
  }
}

TEST_F(Nrrds, AnAxisOfOneEntryIsNoFourthDimension) {
  Fields fields = plain();
  fields["dimension"] = "4";
  fields["sizes"] = "1 4 3 2";
  fields["kinds"] = "list domain domain domain";
  fields["space directions"] = "none (2,0,0) (0,3,0) (0,0,5)";
  write_text(path("list.nrrd"), header(fields) + shorts());
  expect_plain(path("list.nrrd"));
  fields["sizes"] = "4 3 2 1";
  fields["kinds"] = "space space space time";
  fields["space"] = "LPST";
  fields["space directions"] = "(2,0,0,0) (0,3,0,0) (0,0,5,0) (0,0,0,1)";
  fields["space origin"] = "(-8,40,100,0)";
  write_text(path("time.nrrd"), header(fields) + shorts());
  expect_plain(path("time.nrrd"));
  fields["sizes"] = "2 3 2 2";
  EXPECT_EQ(code(fields), "NOT_3D");
}

TEST_F(Nrrds, DetachedDataInEveryForm) {
  // Without the empty line, which ends a header that its voxels follow.
  const auto write = [&](const std::string& name, const std::string& last,
                         Fields fields = plain()) {
    std::string text = header(fields, last);
    text.pop_back();
    write_text(path(name), text);
    return path(name);
  };
  const auto expect = [&](const std::string& name, const std::string& last,
                          std::vector<std::string> files, const Fields& fields = plain()) {
    expect_plain(write(name, last, fields));
    std::vector<fs::path> all{path(name)};
    for (const std::string& file : files) all.push_back(path(file));
    EXPECT_EQ(image_files(path(name)), all) << name;
  };
  write_text(path("x.raw"), shorts());
  write_text(path("with space.raw"), shorts());
  write_text(path("sub/x.raw"), shorts());
  expect("a.nhdr", "data file: x.raw\n", {"x.raw"});
  expect("b.nhdr", "data file: ./x.raw\n", {"x.raw"});
  expect("c.nhdr", "datafile: sub/x.raw\n", {"sub/x.raw"});
  expect("d.nhdr", "data file: sub/../x.raw\n", {"x.raw"});
  expect("e.NHDR", "data file: with space.raw\n", {"with space.raw"});
  for (int i = 0; i < 2; ++i)
    write_text(path("part" + std::to_string(i) + ".raw"),
               shorts(12, static_cast<std::size_t>(12 * i)));
  expect("f.nhdr", "data file: LIST\npart0.raw\n./part1.raw\n", {"part0.raw", "part1.raw"});
  expect("f3.nhdr", "data file: LIST 3\npart0.raw\npart1.raw\n", {"part0.raw", "part1.raw"});
  expect("f4.nhdr", "data file: LIST\npart0.raw\n\npart1.raw\n\n", {"part0.raw", "part1.raw"});
  write_text(path("n007.raw"), shorts(12, 0));
  write_text(path("n009.raw"), shorts(12, 12));
  expect("g.nhdr", "data file: n%03d.raw 7 9 2 2\n", {"n007.raw", "n009.raw"});
  write_text(path("down9.raw"), shorts(12, 0));
  write_text(path("down8.raw"), shorts(12, 12));
  expect("h.nhdr", "data file: ./down%d.raw 9 8 -1\n", {"down9.raw", "down8.raw"});
  Fields fields = plain();
  fields["encoding"] = "gzip";
  write_text(path("x.raw.gz"), gzip(shorts()));
  expect("i.nhdr", "data file: x.raw.gz\n", {"x.raw.gz"}, fields);
  fields = plain();
  fields["byte skip"] = "-1";
  write_text(path("behind.raw"), "anything" + shorts());
  expect("j.nhdr", "data file: behind.raw\n", {"behind.raw"}, fields);
  fields["byte skip"] = "3";
  fields["line skip"] = "2";
  write_text(path("skip.raw"), "a\nbcd\n123" + shorts());
  expect("k.nhdr", "data file: skip.raw\n", {"skip.raw"}, fields);
  fields["encoding"] = "gzip";  // the lines before, the bytes inside
  write_text(path("skip.raw.gz"), "a\nbcd\n" + gzip("123" + shorts()));
  expect("l.nhdr", "data file: skip.raw.gz\n", {"skip.raw.gz"}, fields);
  // What is not there, or not here.
  for (const char* bad : {"absent.raw", "../x.raw", "sub/../../x.raw", "/etc/passwd", "sub"}) {
    const auto read = read_image_volume(write("bad.nhdr", std::string("data file: ") + bad + "\n"));
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.rejection().code, Code::BAD_HEADER) << bad;
    EXPECT_EQ(read.rejection().detail.find(bad), std::string::npos);
    EXPECT_EQ(image_files(path("bad.nhdr")), (std::vector<fs::path>{path("bad.nhdr")})) << bad;
  }
  for (const auto& [bad, code] :
       std::map<std::string, Code>{{"LIST\n", Code::BAD_HEADER},
                                   {"LIST\npart0.raw\nabsent.raw\n", Code::BAD_HEADER},
                                   {"LIST\npart0.raw\nsub/../../y\n", Code::BAD_HEADER},
                                   {"LIST\npart0.raw\n", Code::BAD_HEADER},
                                   {"LIST\npart0.raw\npart1.raw\npart1.raw\n", Code::BAD_HEADER},
                                   {"LIST 3\npart0.raw\n", Code::TRUNCATED_FILE},
                                   {"LIST 4\npart0.raw\n", Code::BAD_HEADER},
                                   {"part%d.raw 0 1 0\n", Code::UNSUPPORTED_ENCODING},
                                   {"part%s.raw 0 1 1\n", Code::UNSUPPORTED_ENCODING},
                                   {"part%d%n.raw 0 1 1\n", Code::UNSUPPORTED_ENCODING},
                                   {"part%d.raw\n", Code::UNSUPPORTED_ENCODING}}) {
    const auto read = read_image_volume(write("bad.nhdr", "data file: " + bad));
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.rejection().code, code) << bad << read.rejection().detail;
  }
}

TEST_F(Nrrds, Encodings) {
  Fields fields = plain();
  fields["encoding"] = "gzip";
  const std::string packed = gzip(shorts());
  for (const std::string& voxels :
       {packed, packed + "junk", gzip(shorts(10)) + gzip(shorts(14, 10))}) {
    write_text(path("z.nrrd"), header(fields) + voxels);
    expect_plain(path("z.nrrd"));
  }
  std::string damaged = packed;
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1);
  std::string wrong = packed;
  wrong.back() = static_cast<char>(wrong.back() ^ 1);
  const auto code_of = [&](const std::string& voxels) {
    write_text(path("bad.nrrd"), header(fields) + voxels);
    const auto read = read_image_volume(path("bad.nrrd"));
    return read ? "USED" : std::string(to_string(read.rejection().code));
  };
  EXPECT_EQ(code_of(damaged), "DECODE_FAILED");
  EXPECT_EQ(code_of(wrong), "DECODE_FAILED");
  EXPECT_EQ(code_of(shorts()), "DECODE_FAILED");
  EXPECT_EQ(code_of(packed.substr(0, packed.size() - 12)), "TRUNCATED_FILE");
  EXPECT_EQ(code_of(gzip(shorts(23))), "TRUNCATED_FILE");
  fields = plain();
  fields["endian"] = "big";
  std::string turned = shorts();
  for (std::size_t i = 0; i < turned.size(); i += 2) std::swap(turned[i], turned[i + 1]);
  write_text(path("big.nrrd"), header(fields) + turned);
  expect_plain(path("big.nrrd"));
  fields.erase("endian");
  EXPECT_EQ(code(fields), "BAD_HEADER");
  fields = plain();
  fields["encoding"] = "hex";
  std::string hex;
  for (const char byte : shorts())
    hex += {"0123456789abcdef"[byte >> 4], "0123456789ABCDEF"[byte & 15], '\n'};
  write_text(path("hex.nrrd"), header(fields) + hex);
  expect_plain(path("hex.nrrd"));
  EXPECT_EQ(code_of(hex.replace(0, 1, "g")), "DECODE_FAILED");
  fields["encoding"] = "ascii";
  std::string text;
  for (int i = 0; i < 24; ++i) text += std::to_string(i) + (i % 5 == 4 ? "\n" : " ");
  write_text(path("text.nrrd"), header(fields) + text);
  expect_plain(path("text.nrrd"));
  EXPECT_EQ(code_of(text.substr(0, text.size() - 3)), "TRUNCATED_FILE");
  EXPECT_EQ(code_of(text.replace(0, 1, "1.5")), "DECODE_FAILED");
  EXPECT_EQ(code_of(text.replace(0, 3, "40000")), "DECODE_FAILED");
  for (const char* name : {"bzip2", "bz2"}) {
    fields["encoding"] = name;
    EXPECT_EQ(code(fields), "UNSUPPORTED_ENCODING");
    EXPECT_NE(detail_.find("bzip2"), std::string::npos);
  }
  write_text(path("whole.nrrd"), gzip(header(plain()) + shorts()));
  const auto whole = read_image_volume(path("whole.nrrd"));
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.rejection().code, Code::UNSUPPORTED_ENCODING);
}

}  // namespace
}  // namespace wsp
