#include <algorithm>
#include <fstream>
#include <limits>

#include "io/core/atomic_file.hpp"
#include "io/core/hash.hpp"
#include "io/shard/columns.hpp"
#include "io/shard/hdf5_file.hpp"
#include "io/shard/shard_file.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

h5::Handle slice_set(hid_t group, const char* name, hid_t type, int type_size, hsize_t rows,
                     const DatasetLayout& layout) {
  const hsize_t dims[3] = {rows, static_cast<hsize_t>(layout.height),
                           static_cast<hsize_t>(layout.width)};
  const hsize_t chunk[3] = {1, dims[1], dims[2]};
  h5::Handle space(H5Screate_simple(3, dims, nullptr), H5Sclose, name, ErrorCode::output);
  h5::Handle properties = h5::dataset_properties();
  herr_t status = H5Pset_chunk(properties.get(), 3, chunk);
  if (layout.codec == Codec::gzip) {
    if (status >= 0) status = H5Pset_deflate(properties.get(), 4);
  } else if (layout.codec != Codec::none) {
    // As the hdf5-blosc plugin writes them: versions, type size, chunk bytes, level, shuffle,
    // compressor.
    const unsigned values[7] = {
        2,
        2,
        static_cast<unsigned>(type_size),
        static_cast<unsigned>(dims[1] * dims[2]) * static_cast<unsigned>(type_size),
        layout.codec == Codec::zstd ? 1U : 5U,
        1,
        layout.codec == Codec::zstd ? 5U : 1U};
    if (status >= 0) status = H5Pset_filter(properties.get(), 32001, H5Z_FLAG_OPTIONAL, 7, values);
  }
  if (status < 0) throw Error(ErrorCode::failure, "HDF5 refuses the chunk layout");
  return {H5Dcreate2(group, name, type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
          H5Dclose, name, ErrorCode::output};
}

std::uint64_t write_chunk(hid_t set, hsize_t row, const Chunk& chunk) {
  const hsize_t offset[3] = {row, 0, 0};
  if (H5Dwrite_chunk(set, H5P_DEFAULT, 0, offset, chunk.bytes.size(), chunk.bytes.data()) < 0)
    throw Error(ErrorCode::output, "HDF5 cannot write a chunk; is the disk full?");
  const auto place = chunk_place(set, row);
  if (place.length != chunk.bytes.size())
    throw Error(ErrorCode::output, "HDF5 does not say where it put a chunk");
  return place.offset;
}

std::vector<ChunkPlace> write_chunks(hid_t image, hid_t mask, hsize_t row,
                                     const CaseRecord& record) {
  std::vector<ChunkPlace> places;
  for (const SliceRecord& slice : record.slices) {
    ChunkPlace at;
    at.image_offset = write_chunk(image, row, slice.image);
    at.mask_offset = write_chunk(mask, row, slice.mask);
    at.image_length = static_cast<std::uint32_t>(slice.image.bytes.size());
    at.mask_length = static_cast<std::uint32_t>(slice.mask.bytes.size());
    at.image_raw = slice.image.raw_length;
    at.mask_raw = slice.mask.raw_length;
    at.image_xxh3 = slice.image.xxh3;
    at.mask_xxh3 = slice.mask.xxh3;
    places.push_back(at);
    ++row;
  }
  return places;
}

// A broken caller must not publish: what the tables say has to be true of the chunks.
void check_records(int shard, std::vector<CaseRecord>& cases, const DatasetLayout& layout) {
  check_layout(layout);
  const auto pixels = static_cast<std::uint64_t>(layout.height * layout.width);
  for (std::size_t c = 0; c < cases.size(); ++c) {
    CaseRecord& record = cases[c];
    const auto refuse = [&](const char* why) {
      throw Error(ErrorCode::failure, "case " + record.name + " " + why);
    };
    if (shard_of(record.name, layout.shards) != shard) refuse("belongs to another shard");
    if (c > 0 && cases[c - 1].name == record.name) refuse("is offered twice");
    if (record.labels.size() > layout.label_names.size())
      refuse("has more labels than the dataset has columns");
    if (record.continuous.size() > layout.continuous_names.size())
      refuse("has more continuous labels than the dataset has columns");
    record.labels.resize(layout.label_names.size(), -1);
    record.continuous.resize(layout.continuous_names.size(),
                             std::numeric_limits<double>::quiet_NaN());
    for (const SliceRecord& slice : record.slices)
      if (slice.image.raw_length != 2 * pixels || slice.mask.raw_length != pixels)
        refuse("has a slice of another size than the dataset's");
  }
}

// HDF5 can report success after a full disk: read back what stands in the file.
void check_written(const fs::path& file, const std::vector<CasePlaces>& places,
                   const DatasetLayout& layout) {
  h5::Handle handle = h5::open_file(file);
  const std::vector<CasePlaces> found = read_tables(handle.get(), layout);
  handle.close();
  if (found.size() != places.size())
    throw Error(ErrorCode::output, "the table of cases is incomplete on the disk");
  std::ifstream in(file, std::ios::binary);
  std::vector<std::uint8_t> bytes;
  const auto check = [&](std::uint64_t offset, std::uint32_t length, std::uint64_t xxh3,
                         std::uint64_t seed) {
    bytes.resize(length);
    in.seekg(static_cast<std::streamoff>(offset));
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(length));
    if (!in || xxh3_64(bytes, seed) != xxh3)
      throw Error(ErrorCode::output,
                  "a chunk does not stand on the disk as it was written; is the disk full?");
  };
  for (std::size_t c = 0; c < places.size(); ++c) {
    if (const std::string what = difference(places[c], found[c]); !what.empty())
      throw Error(ErrorCode::output, what + " does not stand on the disk as it was written");
    const CaseRecord& record = places[c].record;
    for (std::size_t s = 0; s < record.slices.size(); ++s) {
      const ChunkPlace& at = places[c].slices[s];
      const std::int32_t index = record.slices[s].source_index;
      check(at.image_offset, at.image_length, at.image_xxh3, chunk_seed(record.name, index, false));
      check(at.mask_offset, at.mask_length, at.mask_xxh3, chunk_seed(record.name, index, true));
    }
  }
}

}  // namespace

ChunkLocation chunk_place(hid_t set, hsize_t row) {
  const hsize_t offset[3] = {row, 0, 0};
  unsigned mask = 1;
  haddr_t address = HADDR_UNDEF;
  hsize_t length = 0;
  if (H5Dget_chunk_info_by_coord(set, offset, &mask, &address, &length) < 0 || mask != 0 ||
      address == HADDR_UNDEF)
    throw Error(ErrorCode::corrupt, "the chunk of row " + std::to_string(row) + " is missing");
  return {address, length};
}

std::vector<CasePlaces> write_shard(const fs::path& state, int shard, std::vector<CaseRecord> cases,
                                    const DatasetLayout& layout) {
  std::sort(cases.begin(), cases.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  check_records(shard, cases, layout);
  hsize_t rows = 0;
  for (const CaseRecord& record : cases) rows += record.slices.size();
  const fs::path path = state / "shards" / shard_file_name(shard);
  const TemporaryFile temporary{path.string() + ".tmp"};
  std::vector<CasePlaces> places;
  try {
    const auto lock = h5::exclusive();
    // 1. Build the whole shard in a temporary file; every return code is checked, H5Dclose's too.
    h5::NewFile file(path.filename().string());
    h5::write_attribute(file.get(), "format", std::string("wsp-shard"));
    write_layout(file.get(), layout);
    h5::write_attribute(file.get(), "shard", std::int64_t{shard});
    h5::Handle slices = h5::create_group(file.get(), "slices");
    h5::Handle image = slice_set(slices.get(), "image", H5T_STD_I16LE, 2, rows, layout);
    h5::Handle mask = slice_set(slices.get(), "mask", H5T_STD_U8LE, 1, rows, layout);
    hsize_t row = 0;
    for (CaseRecord& record : cases) {
      CasePlaces place;
      place.shard = shard;
      place.first_row = static_cast<std::int64_t>(row);
      place.slices = write_chunks(image.get(), mask.get(), row, record);
      // `bytes = {}` would keep the memory: the whole dataset's, in the end.
      for (SliceRecord& slice : record.slices)
        for (Chunk* chunk : {&slice.image, &slice.mask})
          std::vector<std::uint8_t>().swap(chunk->bytes);
      row += record.slices.size();
      place.record = std::move(record);
      places.push_back(std::move(place));
    }
    image.close();
    mask.close();
    write_slice_columns(slices.get(), places, layout);
    slices.close();
    h5::Handle table = h5::create_group(file.get(), "cases");
    write_case_columns(table.get(), places, layout);
    table.close();
    file.write_to(temporary.path);
    // 2. Read every column and every chunk back.
    check_written(temporary.path, places, layout);
  } catch (const Error& e) {
    throw Error(ErrorCode::output, e.what()).within("while writing " + shard_file_name(shard));
  }
  // 3. Make it durable, then visible.
  publish_file(temporary.path, path);
  return places;
}

}  // namespace wsp
