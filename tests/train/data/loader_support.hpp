#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <numeric>
#include <vector>

#include "io/core/counter_rng.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "support/test_data.hpp"
#include "train/data/loader.hpp"

namespace wsp::train::test {

/// What one batch held.
struct Taken {
  std::int64_t number = 0;
  std::vector<std::uint32_t> rows;
  std::vector<std::int16_t> images;
  std::vector<std::uint8_t> masks;
  bool operator==(const Taken&) const = default;
};

/// `batches` batches of `n` random rows each, a function of the batch's number.
inline BatchLoader::Source random_source(std::size_t rows, std::int64_t batches, std::size_t n) {
  return [=](std::int64_t i) {
    std::vector<std::uint32_t> batch;
    if (i >= batches) return batch;
    CounterRng rng(3, {static_cast<std::uint64_t>(i)});
    for (std::size_t k = 0; k < n; ++k)
      batch.push_back(static_cast<std::uint32_t>(rng.below(rows)));
    return batch;
  };
}

inline std::vector<Taken> take_all(BatchLoader& loader) {
  std::vector<Taken> all;
  while (const auto lease = loader.next())
    all.push_back({lease->number(),
                   {lease->rows().begin(), lease->rows().end()},
                   {lease->images().begin(), lease->images().end()},
                   {lease->masks().begin(), lease->masks().end()}});
  return all;
}

/// A dataset of made cases, in a directory of its own.
class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    wsp::test::write_dataset(root_.path(), wsp::test::small_layout(Codec::lz4), kCases);
    reader_ = std::make_unique<DatasetReader>(root_.path());
    for (int c = 0; c < kCases; ++c) number_[wsp::test::made_name(c)] = c;
  }

  [[nodiscard]] std::size_t rows() const { return reader_->slices().size(); }
  [[nodiscard]] const IndexRow& row(std::uint32_t i) const { return reader_->slices().at(i); }
  [[nodiscard]] const std::string& case_name(std::uint32_t i) const {
    return reader_->cases().at(static_cast<std::size_t>(row(i).case_id)).name;
  }
  [[nodiscard]] std::vector<std::int16_t> made_image(std::uint32_t i) const {
    return wsp::test::made_image(number_.at(case_name(i)), row(i).source_index);
  }
  [[nodiscard]] std::vector<std::uint8_t> made_mask(std::uint32_t i) const {
    return wsp::test::made_mask(number_.at(case_name(i)), row(i).source_index);
  }

  /// Flip one bit of a stored chunk.
  void damage(std::uint32_t i, bool mask = false) const {
    const auto path = reader_->state() / "shards" / shard_file_name(row(i).shard);
    const int fd = ::open(path.c_str(), O_RDWR);
    const ChunkPlace& place = row(i).place;
    const auto at = static_cast<off_t>(mask ? place.mask_offset + place.mask_length / 2
                                            : place.image_offset + place.image_length / 2);
    char byte = 0;
    ASSERT_EQ(::pread(fd, &byte, 1, at), 1);
    byte = static_cast<char>(byte ^ 16);
    ASSERT_EQ(::pwrite(fd, &byte, 1, at), 1);
    ::close(fd);
  }

  static constexpr int kCases = 17;
  wsp::test::TemporaryDirectory root_;
  std::unique_ptr<DatasetReader> reader_;
  std::map<std::string, int> number_;
};

}  // namespace wsp::train::test
