#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

std::vector<std::uint8_t> read_range(int fd, std::uint64_t offset, std::uint32_t length) {
  std::vector<std::uint8_t> bytes(length);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorCode::failure, std::string("cannot read a shard: ") + std::strerror(errno));
    if (n == 0) throw Error(ErrorCode::corrupt, "a shard ends before one of its chunks does");
    done += static_cast<std::size_t>(n);
  }
  return bytes;
}

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0)
      throw Error(ErrorCode::corrupt, "cannot open " + path.filename().string() + ": " + std::strerror(errno));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::vector<CaseRecord> read_shard_cases(const fs::path& dataset, int shard) {
  const fs::path path = dataset / "shards" / shard_file_name(shard);
  try {
    h5::Handle file = h5::open_file(path);
    const DatasetLayout layout = read_layout(file.get(), "wsp-shard");
    std::vector<CasePlaces> places = read_tables(file.get(), layout, false);
    file.close();
    const Descriptor descriptor(path);
    std::vector<CaseRecord> cases;
    for (CasePlaces& place : places) {
      for (std::size_t s = 0; s < place.slices.size(); ++s) {
        SliceRecord& slice = place.record.slices[s];
        const ChunkPlace& at = place.slices[s];
        slice.image.bytes = read_range(descriptor.get(), at.image_offset, at.image_length);
        slice.mask.bytes = read_range(descriptor.get(), at.mask_offset, at.mask_length);
        const std::string& name = place.record.name;
        if (xxh3_64(slice.image.bytes, chunk_seed(name, slice.source_index, false)) != at.image_xxh3 ||
            xxh3_64(slice.mask.bytes, chunk_seed(name, slice.source_index, true)) != at.mask_xxh3)
          throw Error(ErrorCode::corrupt, "a chunk of case " + name + " differs from its hash");
      }
      cases.push_back(std::move(place.record));
    }
    return cases;
  } catch (Error& e) {
    throw e.within("while reading " + shard_file_name(shard));
  }
}

DatasetReader::DatasetReader(const fs::path& dataset) : root_(dataset) {
  if (!fs::exists(dataset / "index.h5"))
    throw Error(ErrorCode::no_input, "no dataset at " + dataset.string() + ": index.h5 is missing");
  std::vector<CasePlaces> places;
  try {
    h5::Handle file = h5::open_file(dataset / "index.h5");
    layout_ = read_layout(file.get(), "wsp-dataset");
    places = read_tables(file.get(), layout_, true);
  } catch (Error& e) {
    throw e.within("while reading index.h5; run wsp-ingest verify");
  }
  for (std::size_t c = 0; c < places.size(); ++c) {
    const CaseRecord& r = places[c].record;
    IndexCase entry{r.name, r.subject, r.split, r.labels, {}, r.source_hash,
                    static_cast<std::int64_t>(slices_.size()), static_cast<std::int64_t>(r.slices.size())};
    for (const Code flag : r.flags) entry.flags.emplace_back(to_string(flag));
    for (std::size_t s = 0; s < r.slices.size(); ++s) {
      const SliceRecord& slice = r.slices[s];
      slices_.push_back({static_cast<std::int32_t>(c), places[c].shard,
                         places[c].first_row + static_cast<std::int64_t>(s), slice.z_mm, slice.source_index,
                         slice.depth_kept, slice.depth_liver, slice.depth_volume, slice.liver_area_mm2,
                         places[c].slices[s]});
    }
    cases_.push_back(std::move(entry));
  }
  for (int shard = 0; shard < layout_.shards; ++shard) {
    const fs::path path = root_ / "shards" / shard_file_name(shard);
    descriptors_.push_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
}

DatasetReader::~DatasetReader() {
  for (const int fd : descriptors_)
    if (fd >= 0) ::close(fd);
}

std::vector<std::int16_t> DatasetReader::read_image(std::size_t i) const {
  const IndexRow& row = slices_.at(i);
  const auto stored = read_range(descriptors_.at(static_cast<std::size_t>(row.shard)), row.place.image_offset,
                                 row.place.image_length);
  const auto raw = decompress_chunk(stored, row.place.image_raw, row.place.image_xxh3, layout_.codec,
                                    cases_.at(static_cast<std::size_t>(row.case_id)).name, row.source_index, false);
  std::vector<std::int16_t> image(raw.size() / 2);
  std::memcpy(image.data(), raw.data(), image.size() * 2);
  return image;
}

std::vector<std::uint8_t> DatasetReader::read_mask(std::size_t i) const {
  const IndexRow& row = slices_.at(i);
  const auto stored = read_range(descriptors_.at(static_cast<std::size_t>(row.shard)), row.place.mask_offset,
                                 row.place.mask_length);
  return decompress_chunk(stored, row.place.mask_raw, row.place.mask_xxh3, layout_.codec,
                          cases_.at(static_cast<std::size_t>(row.case_id)).name, row.source_index, true);
}

}  // namespace wsp
