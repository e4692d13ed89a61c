#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"
#include "io/shard/state.hpp"

namespace wsp {

bool has_flag(const std::vector<Code>& flags, Code flag) {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

bool depth_is_trusted(const std::vector<Code>& flags) {
  return std::none_of(std::begin(kUntrustedDepth), std::end(kUntrustedDepth),
                      [&](Code flag) { return has_flag(flags, flag); });
}

std::string flag_words(const std::vector<Code>& flags, std::string_view separator) {
  std::string words;
  for (const Code flag : flags) {
    if (!words.empty()) words += separator;
    words += to_string(flag);
  }
  return words;
}
namespace {

namespace fs = std::filesystem;

void read_range(int fd, std::uint64_t offset, std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw Error(ErrorCode::failure, std::string("cannot read a shard: ") + std::strerror(errno));
    if (n == 0) throw Error(ErrorCode::corrupt, "a shard ends before one of its chunks does");
    done += static_cast<std::size_t>(n);
  }
}

std::vector<std::uint8_t> read_range(int fd, std::uint64_t offset, std::uint32_t length) {
  std::vector<std::uint8_t> bytes(length);
  read_range(fd, offset, bytes);
  return bytes;
}

// Only regular files: a pipe in a dataset must not make the reader wait. -1 with errno on failure.
int open_regular(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info {};
  if (fd < 0 || (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode))) return fd;
  ::close(fd);
  errno = EINVAL;
  return -1;
}

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path) : fd_(open_regular(path)) {
    if (fd_ < 0)
      throw Error(ErrorCode::corrupt,
                  "cannot open " + path.filename().string() + ": " + std::strerror(errno));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// The hashes of a dataset's files. dataset.json is written last, and vouches for the index.
std::map<std::string, std::string> hashes_of(const nlohmann::json& json, const fs::path& dataset,
                                             const fs::path& state) {
  std::map<std::string, std::string> files;
  try {
    json.at("files").get_to(files);
  } catch (const nlohmann::json::exception&) {  // then of the index neither
  }
  const auto index = files.find("index.h5");
  if (index == files.end())
    throw Error(ErrorCode::corrupt, "dataset.json names no hash of index.h5");
  if (!fs::is_regular_file(state / "index.h5"))
    throw Error(ErrorCode::no_input,
                "no complete dataset at " + dataset.string() + ": index.h5 is missing");
  if (hex(sha256_file(state / "index.h5")) != index->second)
    throw Error(ErrorCode::corrupt, "the SHA-256 differs from the one in dataset.json");
  return files;
}

// Of each label column the manifest's words; none in datasets of an earlier toolkit.
std::vector<std::map<std::string, std::int64_t>> words_of(const nlohmann::json& json,
                                                          const DatasetLayout& layout) {
  std::vector<std::map<std::string, std::int64_t>> words(layout.label_names.size());
  if (!json.contains("words")) return words;
  try {
    for (std::size_t l = 0; l < words.size(); ++l)
      words[l] = json["words"].value(layout.label_names[l], words[l]);
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::corrupt, "the words in dataset.json are no classes");
  }
  return words;
}

std::string description_of(const fs::path& dataset) {
  try {
    return read_file(dataset / "dataset.json");
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

std::vector<CaseRecord> read_shard_cases(const fs::path& state, int shard) {
  const fs::path path = state / "shards" / shard_file_name(shard);
  try {
    DatasetLayout layout;
    std::vector<CasePlaces> places;
    {
      const auto lock = h5::exclusive();
      h5::Handle file = h5::open_file(path);
      layout = read_layout(file.get(), "wsp-shard");
      places = read_tables(file.get(), layout);
      file.close();
    }
    const Descriptor descriptor(path);
    std::vector<CaseRecord> cases;
    for (CasePlaces& place : places) {
      if (place.shard != shard || shard_of(place.record.name, layout.shards) != shard)
        throw Error(ErrorCode::corrupt, "case " + place.record.name + " belongs to another shard");
      for (std::size_t s = 0; s < place.slices.size(); ++s) {
        SliceRecord& slice = place.record.slices[s];
        const ChunkPlace& at = place.slices[s];
        slice.image.bytes = read_range(descriptor.get(), at.image_offset, at.image_length);
        slice.mask.bytes = read_range(descriptor.get(), at.mask_offset, at.mask_length);
        const std::string& name = place.record.name;
        if (xxh3_64(slice.image.bytes, chunk_seed(name, slice.source_index, false)) !=
                at.image_xxh3 ||
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

DatasetReader::DatasetReader(const fs::path& dataset) : dataset_(dataset) {
  // An update may replace what dataset.json names while it is opened: then once more.
  constexpr int kAttempts = 10;
  for (int attempt = 1;; ++attempt) {
    const std::string description = description_of(dataset);
    const auto stands = [&] {
      return attempt == kAttempts || description_of(dataset) == description;
    };
    try {
      load();
      if (stands()) return;
    } catch (const Error&) {
      if (stands()) {
        close();
        throw;
      }
    }
    close();
  }
}

void DatasetReader::load() {
  std::vector<CasePlaces> places;
  try {
    state_ = state_directory(dataset_);
    const nlohmann::json json = load_json(dataset_ / "dataset.json");
    files_ = hashes_of(json, dataset_, state_);
    const auto lock = h5::exclusive();
    h5::Handle file = h5::open_file(state_ / "index.h5");
    layout_ = read_layout(file.get(), "wsp-dataset");
    places = read_tables(file.get(), layout_);
    label_words_ = words_of(json, layout_);
  } catch (Error& e) {
    if (e.code() == ErrorCode::no_input) throw;
    throw e.within("while reading index.h5; run wsp-ingest verify");
  }
  for (std::size_t c = 0; c < places.size(); ++c) {
    const CaseRecord& r = places[c].record;
    IndexCase entry{r.name,
                    r.subject,
                    r.split,
                    r.labels,
                    r.flags,
                    r.source_hash,
                    static_cast<std::int64_t>(slices_.size()),
                    static_cast<std::int64_t>(r.slices.size()),
                    {r.pixel_mm[0], r.pixel_mm[1]},
                    r.spacing_mm,
                    r.liver_ml,
                    r.continuous};
    for (std::size_t s = 0; s < r.slices.size(); ++s) {
      const SliceRecord& slice = r.slices[s];
      slices_.push_back({static_cast<std::int32_t>(c), places[c].shard,
                         places[c].first_row + static_cast<std::int64_t>(s), slice.z_mm,
                         slice.source_index, slice.depth_kept, slice.depth_liver,
                         slice.depth_volume, slice.liver_area_mm2, places[c].slices[s]});
    }
    cases_.push_back(std::move(entry));
  }
  // A shard that cannot be opened matters only to those who read its slices.
  for (int shard = 0; shard < layout_.shards; ++shard)
    descriptors_.push_back(open_regular(state_ / "shards" / shard_file_name(shard)));
}

DatasetReader::~DatasetReader() { close(); }

void DatasetReader::close() {
  for (const int fd : descriptors_)
    if (fd >= 0) ::close(fd);
  descriptors_.clear();
  cases_.clear();
  slices_.clear();
}

std::string DatasetReader::read_listed(const std::string& name) const {
  try {
    return wsp::read_listed(state_, files_, name);
  } catch (const Error&) {
    check_current();
    throw;
  }
}

void DatasetReader::check_current() const {
  if (std::error_code ec; fs::is_directory(state_, ec) && state_directory(dataset_) == state_)
    return;
  throw Error(ErrorCode::failure,
              "the dataset was updated while it was read; run the same command again");
}

void DatasetReader::read_chunk(std::size_t i, bool is_mask, std::span<std::uint8_t> out,
                               ReadScratch& scratch, Placement placement) const {
  const IndexRow& row = slices_.at(i);
  const ChunkPlace& at = row.place;
  const std::string& name = cases_.at(static_cast<std::size_t>(row.case_id)).name;
  const std::uint32_t raw_length = is_mask ? at.mask_raw : at.image_raw;
  const std::uint32_t length = is_mask ? at.mask_length : at.image_length;
  if (out.size() != raw_length)
    throw Error(ErrorCode::failure, "a slice was to be read into " + std::to_string(out.size()) +
                                        " bytes: expected " + std::to_string(raw_length));
  // Never shrinks: a vector that does would zero its tail again and again.
  if (scratch.stored.size() < length) scratch.stored.resize(length);
  const std::span<std::uint8_t> stored(scratch.stored.data(), length);
  try {
    const int fd = descriptors_.at(static_cast<std::size_t>(row.shard));
    if (fd < 0)
      throw Error(ErrorCode::corrupt, shard_file_name(row.shard) +
                                          " is missing or cannot be opened; run wsp-ingest verify");
    read_range(fd, is_mask ? at.mask_offset : at.image_offset, stored);
  } catch (Error& e) {
    throw e.within("while reading case " + name + ", slice " + std::to_string(row.source_index));
  }
  const std::uint64_t hash = is_mask ? at.mask_xxh3 : at.image_xxh3;
  if (placement == Placement::streamed)
    decompress_chunk_streamed(stored, scratch.planes, out, hash, layout_.codec, name,
                              row.source_index, is_mask);
  else
    decompress_chunk(stored, out, hash, layout_.codec, name, row.source_index, is_mask);
}

void DatasetReader::read_image(std::size_t i, std::span<std::int16_t> out, ReadScratch& scratch,
                               Placement placement) const {
  read_chunk(i, false, {reinterpret_cast<std::uint8_t*>(out.data()), out.size_bytes()}, scratch,
             placement);
}

void DatasetReader::read_mask(std::size_t i, std::span<std::uint8_t> out,
                              ReadScratch& scratch) const {
  read_chunk(i, true, out, scratch, Placement::cached);
}

std::vector<std::int16_t> DatasetReader::read_image(std::size_t i) const {
  std::vector<std::int16_t> image(static_cast<std::size_t>(layout_.height * layout_.width));
  ReadScratch scratch;
  read_image(i, image, scratch);
  return image;
}

std::vector<std::uint8_t> DatasetReader::read_mask(std::size_t i) const {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(layout_.height * layout_.width));
  ReadScratch scratch;
  read_mask(i, mask, scratch);
  return mask;
}

}  // namespace wsp
