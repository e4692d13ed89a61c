#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/core/codes.hpp"

/// The dataset directory (docs/SHARD_FORMAT.md). No HDF5 type stands here.
namespace wsp {

enum class Codec { none, lz4, zstd, gzip };
Codec parse_codec(std::string_view name);  ///< throws Error(usage)
std::string_view to_string(Codec codec);

/// One compressed chunk, as it stands in the shard: exactly one slice.
struct Chunk {
  std::vector<std::uint8_t> bytes;  ///< compressed
  std::uint32_t raw_length = 0;     ///< bytes before compression
  std::uint64_t xxh3 = 0;           ///< XXH3-64 over the *stored* bytes, seeded by chunk_seed()
};
/// Seed that binds a chunk to its case, slice and role, so that a swapped or stale chunk is caught.
std::uint64_t chunk_seed(std::string_view case_name, std::int32_t source_index, bool is_mask);
/// Compress one slice (type_size 2 or 1) with c-blosc's _ctx call or zlib; thread-safe,
/// deterministic.
Chunk compress_slice(std::span<const std::uint8_t> raw, int type_size, Codec codec,
                     std::uint64_t seed);
/// Check the hash and decompress; throws Error(corrupt) naming case and slice. Thread-safe.
std::vector<std::uint8_t> decompress_chunk(std::span<const std::uint8_t> stored,
                                           std::uint32_t raw_length, std::uint64_t xxh3,
                                           Codec codec, std::string_view case_name,
                                           std::int32_t source_index, bool is_mask);
/// The same into the caller's memory, which must hold exactly the decompressed bytes.
void decompress_chunk(std::span<const std::uint8_t> stored, std::span<std::uint8_t> raw,
                      std::uint64_t xxh3, Codec codec, std::string_view case_name,
                      std::int32_t source_index, bool is_mask);
/// The same with non-temporal stores where the chunk has 16-bit elements in Blosc's byte shuffle.
/// Writes to `stored` as well; planes: memory kept between calls.
void decompress_chunk_streamed(std::span<std::uint8_t> stored, std::vector<std::uint8_t>& planes,
                               std::span<std::uint8_t> raw, std::uint64_t xxh3, Codec codec,
                               std::string_view case_name, std::int32_t source_index, bool is_mask);

struct SliceRecord {
  double z_mm = 0;
  std::int32_t source_index = 0;
  double depth_kept = 0.5, depth_liver = 0.5, depth_volume = 0.5;
  double liver_area_mm2 = 0;
  Chunk image, mask;
};

struct CaseRecord {
  std::string name, subject, split;
  std::vector<std::int64_t> labels;  ///< one per DatasetLayout::label_names
  std::vector<Code> flags;
  std::string source_hash;   ///< hex SHA-256
  double pixel_mm[2]{1, 1};  ///< x, y of the stored slices
  double spacing_mm = 0;     ///< median slice distance
  double liver_ml = 0;
  std::vector<SliceRecord> slices;  ///< feet to head
  std::vector<double> continuous;   ///< one per DatasetLayout::continuous_names, NaN unknown
};

struct DatasetLayout {
  int shards = 16;  ///< power of two
  std::int64_t height = 512, width = 512;
  Codec codec = Codec::lz4;
  std::vector<std::string> label_names{"label"};
  std::vector<std::string> continuous_names;  ///< labels that are numbers
  std::string tool_version;
};

/// Which shard a case lives in: the leading bits of SHA-256(case name).
int shard_of(std::string_view case_name, int shards);
std::string shard_file_name(int shard);  ///< "shard-00.h5"

/// Where each chunk landed, by case and slice; feeds the index.
struct ChunkPlace {
  std::uint64_t image_offset = 0, mask_offset = 0;
  std::uint32_t image_length = 0, mask_length = 0, image_raw = 0, mask_raw = 0;
  std::uint64_t image_xxh3 = 0, mask_xxh3 = 0;
};
struct CasePlaces {
  CaseRecord record;  ///< chunks emptied
  int shard = 0;
  std::int64_t first_row = 0;
  std::vector<ChunkPlace> slices;
};

/// Write one shard of a state (state.hpp) atomically: a temporary file whose columns and chunks are
/// read back before it is published. Cases are sorted by name. Returns places in the same order.
/// Throws Error(output), and Error(failure) for records that do not fit the layout.
std::vector<CasePlaces> write_shard(const std::filesystem::path& state, int shard,
                                    std::vector<CaseRecord> cases, const DatasetLayout& layout);
/// The cases of an existing shard of a state with their compressed chunks, hashes checked: what an
/// incremental run takes over. Throws Error(corrupt).
std::vector<CaseRecord> read_shard_cases(const std::filesystem::path& state, int shard);
/// Write index.h5 atomically from all cases of all shards, sorted by (shard, case name).
void write_index(const std::filesystem::path& state, std::vector<CasePlaces> cases,
                 const DatasetLayout& layout);

/// The index of a dataset in memory.
struct IndexRow {
  std::int32_t case_id = 0;
  std::int32_t shard = 0;
  std::int64_t row = 0;
  double z_mm = 0;
  std::int32_t source_index = 0;
  double depth_kept = 0, depth_liver = 0, depth_volume = 0, liver_area_mm2 = 0;
  ChunkPlace place;
};
struct IndexCase {
  std::string name, subject, split;
  std::vector<std::int64_t> labels;
  std::vector<Code> flags;
  std::string source_hash;
  std::int64_t first_slice = 0, slice_count = 0;
  double pixel_mm[2]{1, 1};  ///< x, y of the stored slices
  double spacing_mm = 0;     ///< median slice distance
  double liver_ml = 0;
  std::vector<double> continuous;  ///< one per DatasetLayout::continuous_names, NaN unknown
};

bool has_flag(const std::vector<Code>& flags, Code flag);

/// What makes a case's depth untrusted, so that training leaves it out. LIVER_TRUNCATED: the scan
/// ends inside the liver. LIVER_FRAGMENTED: a tenth of the mask lies apart from the liver and may
/// stretch its extent. MASK_UNSURE: a network's mask that failed a check.
inline constexpr Code kUntrustedDepth[] = {Code::LIVER_TRUNCATED, Code::LIVER_FRAGMENTED,
                                           Code::MASK_UNSURE};
/// Whether a case's depths mean what they say: false where a flag tells that the liver's extent, to
/// which depth is relative, is not the true one. Gaps, tilt and uneven spacing do not count: depth
/// follows from measured positions.
bool depth_is_trusted(const std::vector<Code>& flags);
/// The words of flags, e.g. "GAP,LIVER_SMALL" with a comma as separator.
std::string flag_words(const std::vector<Code>& flags, std::string_view separator = ",");

/// Where the pixels that are read should stay.
enum class Placement {
  cached,   ///< in the caches: they are used next
  streamed  ///< in memory, written past the caches: what is used next would be pushed out of them
};

/// Memory that a thread keeps between reads, so that reading does not allocate.
struct ReadScratch {
  std::vector<std::uint8_t> stored;  ///< the compressed chunk
  std::vector<std::uint8_t> planes;  ///< streamed: its low bytes and its high bytes
};

/// Leave the settings of HDF5 that hold for a whole process (its plugins, its Blosc filter) as they
/// are: the process is another program's, such as Python's, whose libraries use HDF5 too. To be
/// called before anything else here; verify_dataset(), which needs the filter, is not for such a
/// process.
void share_hdf5();

/// Read a dataset: index in memory, pixels by pread. read_* are thread-safe. Needs dataset.json,
/// whose SHA-256 vouches for the index. Every shard is opened at once: an update of the dataset
/// does not change what is read here. Throws Error(no_input) where no complete dataset is,
/// Error(corrupt) for a broken one.
class DatasetReader {
 public:
  explicit DatasetReader(const std::filesystem::path& dataset);
  ~DatasetReader();
  DatasetReader(const DatasetReader&) = delete;
  DatasetReader& operator=(const DatasetReader&) = delete;
  [[nodiscard]] const DatasetLayout& layout() const { return layout_; }
  /// Where its files are: cases/, previews/, shards/ and the tables.
  [[nodiscard]] const std::filesystem::path& state() const { return state_; }
  /// Another file of the dataset, such as cases/CASE.json: is it one, and its bytes, checked
  /// against the hash in dataset.json. Throws Error(corrupt) where it is missing or changed, and
  /// Error(failure) where an update has replaced state() since.
  [[nodiscard]] bool lists(const std::string& name) const { return files_.contains(name); }
  [[nodiscard]] std::string read_listed(const std::string& name) const;
  /// Throws Error(failure) where an update has replaced state() since: its other files are going.
  void check_current() const;
  /// Per label column the manifest's words and their classes; empty maps where it had none (plain
  /// integers).
  [[nodiscard]] const std::vector<std::map<std::string, std::int64_t>>& label_words() const {
    return label_words_;
  }
  [[nodiscard]] const std::vector<IndexCase>& cases() const { return cases_; }
  [[nodiscard]] const std::vector<IndexRow>& slices() const { return slices_; }
  /// int16 HU, [height][width], of index row i.
  [[nodiscard]] std::vector<std::int16_t> read_image(std::size_t i) const;
  [[nodiscard]] std::vector<std::uint8_t> read_mask(std::size_t i) const;
  /// The same into `out` of exactly height * width values, without allocating once `scratch` has
  /// grown to the largest chunk; one scratch per thread. Throws Error(corrupt) naming case and
  /// slice, after which `out` holds anything.
  void read_image(std::size_t i, std::span<std::int16_t> out, ReadScratch& scratch,
                  Placement placement = Placement::cached) const;
  void read_mask(std::size_t i, std::span<std::uint8_t> out, ReadScratch& scratch) const;

 private:
  void read_chunk(std::size_t i, bool is_mask, std::span<std::uint8_t> out, ReadScratch& scratch,
                  Placement placement) const;

  void load();
  void close();

  std::filesystem::path dataset_, state_;
  DatasetLayout layout_;
  std::map<std::string, std::string> files_;  // of dataset.json: path and SHA-256
  std::vector<std::map<std::string, std::int64_t>> label_words_;
  std::vector<IndexCase> cases_;
  std::vector<IndexRow> slices_;
  std::vector<int> descriptors_;
};

/// One finding of a verification.
struct Finding {
  Code code;
  std::string where;  ///< file, case or slice
  std::string detail;
};
/// Check every hash, every chunk, every count, index against shards, JSON against schemas;
/// parallel. Never throws for a broken dataset; an unreadable directory is Error(no_input), a
/// signal to stop Error(interrupted).
std::vector<Finding> verify_dataset(const std::filesystem::path& dataset);

}  // namespace wsp
