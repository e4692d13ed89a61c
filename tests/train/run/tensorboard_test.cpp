#include "train/run/tensorboard.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/png.hpp"
#include "support/python.hpp"
#include "support/test_data.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::run_command;
using test::TemporaryDirectory;

std::vector<json> read_events(const fs::path& file) {
  int status = 0;
  const std::string output = run_command(
      test::python() + " " WSP_SOURCE_DIR "/tests/train/run/read_events.py " + file.string(),
      status);
  EXPECT_EQ(status, 0) << output;
  std::vector<json> events;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line));
  return events;
}

std::vector<fs::path> event_files(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().filename().string().starts_with("events.out.tfevents."))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::uint8_t> noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> pixels(n);
  for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>(random());
  return pixels;
}

// No file of this process grows beyond `bytes` while it lives: a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int) = nullptr;
};

TEST(Crc32c, AgreesWithPublishedValues) {
  // RFC 3720, B.4, and the check value of CRC catalogues.
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c(""), 0U);
}

TEST(EventWriter, AnIndependentReaderFindsWhatWasWritten) {
  const TemporaryDirectory work;
  const auto before = std::chrono::system_clock::now();
  const auto square = noise(7 * 5, 1);
  const std::string text = "# Régime\n\n| a | b |\n|---|---|\n| 1 | 2 |";
  fs::path file;
  {
    EventWriter writer(work.path() / "new" / "tb");
    writer.add_scalar("loss/train", 1, 2.5);
    writer.add_scalar("loss/train", std::int64_t{1} << 40, -0.125);
    writer.add_scalar("odd", 3, std::numeric_limits<double>::quiet_NaN());
    writer.add_image("views/0", 4, 7, 5, square);
    writer.add_text("config", 0, text);
    file = writer.event_file();
    writer.close();
  }
  const auto events = read_events(file);
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[0]["file_version"], "brain.Event:2");
  const double began = std::chrono::duration<double>(before.time_since_epoch()).count();
  for (const json& event : events) {
    EXPECT_GE(event["wall_time"].get<double>(), began);
    EXPECT_LE(event["wall_time"].get<double>(), began + 60);
  }
  EXPECT_EQ(events[1]["tag"], "loss/train");
  EXPECT_EQ(events[1]["step"], 1);
  EXPECT_EQ(events[1]["scalar"], 2.5);
  EXPECT_EQ(events[2]["step"], std::int64_t{1} << 40);
  EXPECT_EQ(events[2]["scalar"], -0.125);
  EXPECT_EQ(events[3]["tag"], "odd");
  EXPECT_EQ(events[3]["scalar"], "nan");
  EXPECT_EQ(events[4]["tag"], "views/0");
  EXPECT_EQ(events[4]["width"], 7);
  EXPECT_EQ(events[4]["height"], 5);
  EXPECT_EQ(events[4]["pixels"].get<std::vector<std::uint8_t>>(), square);
  EXPECT_EQ(events[5]["text"], text);
  EXPECT_EQ(events[5]["plugin"], "text");
}

TEST(EventWriter, ImagesOfEverySizeKeepTheirPixels) {
  const TemporaryDirectory work;
  EventWriter writer(work.path());
  std::vector<std::vector<std::uint8_t>> images;
  const std::vector<std::pair<int, int>> sizes = {{1, 1}, {1, 9}, {9, 1}, {64, 33}, {160, 320}};
  for (const auto& [width, height] : sizes) {
    images.push_back(noise(static_cast<std::size_t>(width) * static_cast<std::size_t>(height),
                           static_cast<unsigned>(width)));
    writer.add_image("image", 0, width, height, images.back());
  }
  // A smooth ramp, for which libpng chooses other filters.
  images.emplace_back();
  for (int i = 0; i < 100 * 100; ++i) images.back().push_back(static_cast<std::uint8_t>(i / 50));
  writer.add_image("image", 0, 100, 100, images.back());
  writer.close();
  const auto events = read_events(writer.event_file());
  ASSERT_EQ(events.size(), images.size() + 1);
  for (std::size_t i = 0; i < images.size(); ++i)
    EXPECT_EQ(events[i + 1]["pixels"].get<std::vector<std::uint8_t>>(), images[i]) << i;
}

TEST(EventWriter, RefusesImagesWhoseSizeLies) {
  const TemporaryDirectory work;
  EventWriter writer(work.path());
  const auto pixels = noise(20, 2);
  EXPECT_THROW(writer.add_image("x", 0, 4, 6, pixels), Error);
  EXPECT_THROW(writer.add_image("x", 0, 0, 0, {}), Error);
  EXPECT_THROW(writer.add_image("x", 0, -4, -5, pixels), Error);
}

TEST(EventWriter, EveryWriterOpensAFileThatSortsLast) {
  const TemporaryDirectory work;
  // A clock that was set back since, and what else may lie there.
  std::ofstream(work.path() / "events.out.tfevents.4102444800.host.1.0") << "";
  std::ofstream(work.path() / "events.out.tfevents.x") << "";
  std::ofstream(work.path() / "notes.txt") << "";
  std::vector<fs::path> opened;
  for (int i = 0; i < 3; ++i) {
    EventWriter writer(work.path(), i > 0 ? std::optional<std::int64_t>(i * 10) : std::nullopt);
    writer.add_scalar("x", i, i);
    writer.close();
    opened.push_back(writer.event_file());
  }
  EXPECT_TRUE(std::is_sorted(opened.begin(), opened.end()));
  fs::remove(work.path() / "events.out.tfevents.x");
  const auto files = event_files(work.path());
  ASSERT_EQ(files.size(), 4U);
  EXPECT_EQ(std::vector<fs::path>(files.begin() + 1, files.end()), opened);
  // A first run does not purge; a resumed one does, from its first step on.
  EXPECT_FALSE(read_events(opened[0])[1].contains("session_status"));
  const auto resumed = read_events(opened[2]);
  EXPECT_EQ(resumed[1]["session_status"], 1);
  EXPECT_EQ(resumed[1]["step"], 20);
  EXPECT_EQ(resumed[2]["scalar"], 2);
}

TEST(EventWriter, FlushesByItselfAndWhenDestroyed) {
  const TemporaryDirectory work;
  fs::path file;
  {
    EventWriter writer(work.path());
    file = writer.event_file();
    const auto at_first = fs::file_size(file);
    EXPECT_GT(at_first, 0U) << "TensorBoard should see the run at once";
    writer.add_scalar("x", 1, 1);
    EXPECT_EQ(fs::file_size(file), at_first);
    writer.flush();
    EXPECT_GT(fs::file_size(file), at_first);
    for (int i = 0; i < 20; ++i) writer.add_image("x", i, 128, 128, noise(128 * 128, 3));
    EXPECT_GT(fs::file_size(file), 256U << 10);
  }
  EXPECT_EQ(read_events(file).size(), 22U);
}

TEST(EventWriter, AFullDiskIsAnOutputErrorAndLeavesWholeRecords) {
  const TemporaryDirectory work;
  EventWriter writer(work.path());
  writer.add_scalar("kept", 1, 1);
  writer.flush();
  const auto size = fs::file_size(writer.event_file());
  writer.add_image("x", 2, 64, 64, noise(64 * 64, 4));
  {
    const FullDisk full(static_cast<rlim_t>(size) + 100);
    try {
      writer.flush();
      ADD_FAILURE() << "wrote to a full disk";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::output);
      EXPECT_NE(std::string(e.what()).find(writer.event_file().string()), std::string::npos);
    }
    EXPECT_EQ(fs::file_size(writer.event_file()), size);
    EXPECT_THROW(writer.close(), Error);
  }
  EXPECT_EQ(read_events(writer.event_file()).size(), 2U);
  writer.close();
  EXPECT_EQ(read_events(writer.event_file()).size(), 3U) << "nothing is lost once there is room";
}

TEST(EventWriter, SaysWhenTheDirectoryCannotBe) {
  const TemporaryDirectory work;
  std::ofstream(work.path() / "file") << "";
  try {
    EventWriter writer(work.path() / "file" / "tb");
    ADD_FAILURE() << "made a directory inside a file";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
  }
}

Projection two_points(std::string name) {
  Projection p;
  p.name = std::move(name);
  p.dim = 3;
  p.points = {0.1F, -2, 3e-20F, 4, 5, 6.5F};
  p.columns = {"subject", "depth"};
  p.rows = {{"a\tb", "0.5"}, {"c\nd", "1"}};
  return p;
}

TEST(Projector, WritesTheFilesOfEveryProjection) {
  const TemporaryDirectory work;
  EventWriter writer(work.path());
  const fs::path root = work.path() / "plugins" / "org_tensorflow_tensorboard_projector";
  EXPECT_EQ(writer.projector_directory(), root);
  writer.set_projection(two_points("train"));
  const std::string tensors = read_file(root / "train" / "tensors.tsv");
  std::istringstream numbers(tensors);
  for (const float value : two_points("").points) {
    std::string word;
    numbers >> word;
    EXPECT_EQ(std::stof(word), value) << "every float reads back as it was";
  }
  EXPECT_EQ(std::count(tensors.begin(), tensors.end(), '\n'), 2);
  EXPECT_EQ(std::count(tensors.begin(), tensors.end(), '\t'), 4);
  EXPECT_EQ(read_file(root / "train" / "metadata.tsv"), "subject\tdepth\na b\t0.5\nc d\t1\n");
  EXPECT_EQ(read_file(root / "projector_config.pbtxt"),
            "embeddings {\n  tensor_name: \"train\"\n  tensor_path: \"train/tensors.tsv\"\n"
            "  metadata_path: \"train/metadata.tsv\"\n}\n");

  // A resumed run's writer keeps what stands there; one column has no title line.
  EventWriter resumed(work.path(), 5);
  Projection one = two_points("held_back");
  one.columns = {"subject"};
  one.rows = {{"a"}, {"b"}};
  one.thumbnail_size = 2;
  one.thumbnails = {1, 2, 3, 4, 5, 6, 7, 8};
  resumed.set_projection(one);
  EXPECT_EQ(read_file(root / "held_back" / "metadata.tsv"), "a\nb\n");
  const std::string config = read_file(root / "projector_config.pbtxt");
  EXPECT_EQ(config,
            "embeddings {\n  tensor_name: \"held_back\"\n  tensor_path: \"held_back/tensors.tsv\"\n"
            "  metadata_path: \"held_back/metadata.tsv\"\n"
            "  sprite {\n    image_path: \"held_back/sprite.png\"\n"
            "    single_image_dim: 2\n    single_image_dim: 2\n  }\n}\n"
            "embeddings {\n  tensor_name: \"train\"\n  tensor_path: \"train/tensors.tsv\"\n"
            "  metadata_path: \"train/metadata.tsv\"\n}\n");
  // Two thumbnails side by side in a grid of two by two.
  EXPECT_EQ(read_file(root / "held_back" / "sprite.png"),
            encode_grey_png(
                4, 4, std::vector<std::uint8_t>{1, 2, 5, 6, 3, 4, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}));
  // In place of one of the same name, with less known of it.
  one.columns.clear();
  one.rows.clear();
  one.thumbnail_size = 0;
  one.thumbnails.clear();
  resumed.set_projection(one);
  EXPECT_FALSE(fs::exists(root / "held_back" / "metadata.tsv"));
  EXPECT_FALSE(fs::exists(root / "held_back" / "sprite.png"));
}

TEST(Projector, RefusesWhatDoesNotFit) {
  const TemporaryDirectory work;
  EventWriter writer(work.path());
  const auto refused = [&](auto change) {
    Projection p = two_points("x");
    change(p);
    try {
      writer.set_projection(p);
      return false;
    } catch (const Error& e) {
      return e.code() == ErrorCode::usage;
    }
  };
  EXPECT_TRUE(refused([](Projection& p) { p.name = ""; }));
  EXPECT_TRUE(refused([](Projection& p) { p.name = "../up"; }));
  EXPECT_TRUE(refused([](Projection& p) { p.name = ".."; }));
  EXPECT_TRUE(refused([](Projection& p) { p.name = "a\"b"; }));
  EXPECT_TRUE(refused([](Projection& p) { p.dim = 4; }));
  EXPECT_TRUE(refused([](Projection& p) { p.dim = 0; }));
  EXPECT_TRUE(refused([](Projection& p) { p.points.clear(); }));
  EXPECT_TRUE(refused([](Projection& p) { p.rows.pop_back(); }));
  EXPECT_TRUE(refused([](Projection& p) { p.rows[1].pop_back(); }));
  EXPECT_TRUE(refused([](Projection& p) { p.thumbnail_size = 3; }));
  EXPECT_FALSE(fs::exists(writer.projector_directory()));
}

TEST(EventWriter, TensorBoardItselfReadsIt) {
  WSP_REQUIRE_PYTHON("tensorboard");
  const TemporaryDirectory work;
  {
    EventWriter writer(work.path());
    for (int step = 1; step <= 5; ++step) writer.add_scalar("loss", step, step / 2.0);
    writer.add_image("views", 2, 8, 8, noise(64, 5));
    writer.add_text("config", 0, "text");
    writer.set_projection(two_points("train"));
    writer.close();
  }
  EventWriter resumed(work.path(), 4);
  for (int step = 4; step <= 6; ++step) resumed.add_scalar("loss", step, step * 10.0);
  resumed.close();
  int status = 0;
  const std::string output =
      run_command(test::python() + " " WSP_SOURCE_DIR "/tests/train/run/tensorboard_accepts.py " +
                      work.path().string() + " 2>/dev/null",
                  status);
  ASSERT_EQ(status, 0) << output;
  const json found = json::parse(output);
  EXPECT_EQ(found["scalars"]["loss"],
            json::parse("[[1,0.5],[2,1.0],[3,1.5],[4,40.0],[5,50.0],[6,60.0]]"));
  EXPECT_EQ(found["images"]["views"], json::parse("[2]"));
  EXPECT_EQ(found["tensors"], json::parse("[\"config\"]"));
  EXPECT_EQ(found["projections"], json::parse("[\"train\"]"));
}

}  // namespace
}  // namespace wsp::train
