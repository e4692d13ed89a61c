#include "io/shard/hdf5_file.hpp"

#include <blosc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "io/core/atomic_file.hpp"
#include "io/shard/dataset.hpp"

namespace wsp::h5 {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");
constexpr H5Z_filter_t kBloscFilter = 32001;
// The signature, superblock version 3 (of HDF5 1.10: what later versions add, Debian 12 cannot
// read), 8-byte offsets and lengths, closed, at byte 0, and without the extension that holds what
// none of our files has: metadata cache images, which libhdf5 (1.10 to 1.14) reads past their end
// when they lie (CVE-2025-6269), free-space managers.
constexpr std::array<char, 28> kSuperblock{'\x89', 'H',    'D',    'F',    '\r',   '\n',   '\x1a',
                                           '\n',   '\3',   '\x8',  '\x8',  '\0',   '\0',   '\0',
                                           '\0',   '\0',   '\0',   '\0',   '\0',   '\0',   '\xff',
                                           '\xff', '\xff', '\xff', '\xff', '\xff', '\xff', '\xff'};

// Chunks are written compressed (H5Dwrite_chunk); HDF5 itself only needs the filter for reading.
std::size_t blosc_filter(unsigned flags, std::size_t, const unsigned*, std::size_t bytes,
                         std::size_t* buffer_size, void** buffer) {
  if ((flags & H5Z_FLAG_REVERSE) == 0) return 0;
  std::size_t raw = 0;
  if (blosc_cbuffer_validate(*buffer, bytes, &raw) != 0) return 0;
  void* out = std::malloc(raw > 0 ? raw : 1);
  if (out == nullptr) return 0;
  if (blosc_decompress_ctx(*buffer, out, raw, 1) < 0) {
    std::free(out);
    return 0;
  }
  std::free(*buffer);
  *buffer = out;
  *buffer_size = raw;
  return raw;
}

void must(herr_t status, const char* what) {
  if (status < 0)
    throw Error(ErrorCode::output,
                std::string("HDF5 cannot write ") + what + "; is the disk full?");
}

std::atomic<bool> shared_library = false;

void initialise() {
  // HDF5 keeps this setting per thread.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  if (shared_library) return;
  static std::once_flag once;
  std::call_once(once, [] {
    H5PLset_loading_state(0);
    static const H5Z_class2_t filter{H5Z_CLASS_T_VERS, kBloscFilter, 1,       1,
                                     "blosc",          nullptr,      nullptr, blosc_filter};
    if (H5Zregister(&filter) < 0)
      throw Error(ErrorCode::failure, "HDF5 cannot register the Blosc filter");
  });
}

void write_scalar(hid_t object, const char* name, hid_t file_type, hid_t memory_type,
                  const void* value) {
  Handle space(H5Screate(H5S_SCALAR), H5Sclose, name, ErrorCode::output);
  Handle attribute(H5Acreate2(object, name, file_type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                   H5Aclose, name, ErrorCode::output);
  must(H5Awrite(attribute.get(), memory_type, value), name);
  attribute.close();
}

// Only the exact types that we write are read: no conversion, no variable length.
void read_scalar(hid_t object, const char* name, hid_t expected, void* value) {
  Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, std::string("attribute ") + name);
  Handle type(H5Aget_type(attribute.get()), H5Tclose, "a type");
  Handle space(H5Aget_space(attribute.get()), H5Sclose, "a dataspace");
  if (H5Tequal(type.get(), expected) <= 0 || H5Sget_simple_extent_npoints(space.get()) != 1 ||
      H5Aread(attribute.get(), expected, value) < 0)
    throw Error(ErrorCode::corrupt,
                std::string("attribute ") + name + " has another type than expected");
}

}  // namespace

std::unique_lock<std::mutex> exclusive() {
  static std::mutex mutex;
  std::unique_lock lock(mutex);
  initialise();
  return lock;
}

/// The bytes of a file in memory. The core driver asks for them and gives them back when it closes
/// the file: until then they are its own.
struct NewFile::Image {
  void* bytes = nullptr;
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() { std::free(bytes); }

  static void* make(size_t size, H5FD_file_image_op_t, void*) { return std::malloc(size); }
  static void* copy(void* to, const void* from, size_t size, H5FD_file_image_op_t, void*) {
    return std::memcpy(to, from, size);
  }
  static void* grow(void* old, size_t size, H5FD_file_image_op_t, void*) {
    return std::realloc(old, size);
  }
  static herr_t take(void* image, H5FD_file_image_op_t when, void* self) {
    if (when == H5FD_FILE_IMAGE_OP_FILE_CLOSE)
      static_cast<Image*>(self)->bytes = image;
    else
      std::free(image);
    return 0;
  }
  static void* same(void* self) { return self; }
  static herr_t keep(void*) { return 0; }
};

Handle NewFile::create(const std::string& name, Image& image) {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "file properties", ErrorCode::output);
  must(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "file properties");
  constexpr std::size_t kGrowth = std::size_t{4} << 20;
  must(H5Pset_fapl_core(access.get(), kGrowth, false), "file properties");
  H5FD_file_image_callbacks_t callbacks{Image::make, Image::copy, Image::grow, Image::take,
                                        Image::same, Image::keep, &image};
  must(H5Pset_file_image_callbacks(access.get(), &callbacks), "file properties");
  // The root group is an object too: without this it carries the time of writing.
  Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "file properties", ErrorCode::output);
  must(H5Pset_obj_track_times(creation.get(), false), "file properties");
  return {H5Fcreate(name.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose, name,
          ErrorCode::output};
}

NewFile::NewFile(const std::string& name)
    : image_(std::make_unique<Image>()), file_(create(name, *image_)) {}
NewFile::~NewFile() = default;

void NewFile::write_to(const std::filesystem::path& path) {
  must(H5Fflush(file_.get(), H5F_SCOPE_GLOBAL), "the file");
  file_.close();
  // The driver rounds its memory up; the superblock (version 3) says where the file ends.
  constexpr std::size_t kEndOfFile = 28, kSuperblockBytes = 48;
  const auto* const bytes = static_cast<const std::uint8_t*>(image_->bytes);
  std::uint64_t size = 0;
  if (bytes != nullptr) std::memcpy(&size, bytes + kEndOfFile, sizeof size);
  if (size < kSuperblockBytes ||
      !std::equal(kSuperblock.begin(), kSuperblock.end(), bytes,
                  [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }))
    throw Error(ErrorCode::output, "HDF5 did not give back the file that it made");
  write_temporary(path, {bytes, static_cast<std::size_t>(size)});
}

Handle create_group(hid_t parent, const char* name) {
  Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "group properties", ErrorCode::output);
  must(H5Pset_obj_track_times(properties.get(), false), "group properties");
  return {H5Gcreate2(parent, name, H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Gclose, name,
          ErrorCode::output};
}

Handle dataset_properties() {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "dataset properties",
                    ErrorCode::output);
  must(H5Pset_obj_track_times(properties.get(), false), "dataset properties");
  return properties;
}

Handle open_file(const std::filesystem::path& path) {
  const auto refuse = [&](const char* why) -> Error {
    return {ErrorCode::corrupt, path.filename().string() + " " + why};
  };
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec)) throw refuse("is missing or no regular file");
  std::array<char, kSuperblock.size()> head{};
  std::ifstream(path, std::ios::binary).read(head.data(), head.size());
  if (head != kSuperblock) throw refuse("is no HDF5 file as this toolkit writes them");
  const auto open = [&](bool locking, H5F_close_degree_t degree) {
    Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "file properties");
    if (H5Pset_fclose_degree(access.get(), degree) < 0 ||
        H5Pset_file_locking(access.get(), locking, true) < 0)
      throw Error(ErrorCode::failure, "HDF5 refuses file access properties");
    return H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  };
  // Published files never change, so locks only get in the way (read-only and network disks).
  hid_t id = open(false, H5F_CLOSE_STRONG);
  // A file that another user of the library has open is opened only as they did.
  if (id < 0 && shared_library) id = open(true, H5F_CLOSE_WEAK);
  if (id < 0 && shared_library) id = open(true, H5F_CLOSE_STRONG);
  if (id < 0 && shared_library) id = open(false, H5F_CLOSE_WEAK);
  if (id < 0) throw refuse("is no HDF5 file that can be opened");
  return {id, H5Fclose, path.filename().string()};
}

Handle open_dataset(hid_t file, const std::string& name) {
  for (std::size_t end = name.find('/');; end = name.find('/', end + 1)) {
    H5L_info_t link;
    if (H5Lget_info(file, name.substr(0, end).c_str(), &link, H5P_DEFAULT) < 0 ||
        link.type != H5L_TYPE_HARD)
      throw Error(ErrorCode::corrupt, "/" + name + " is missing or a link to elsewhere");
    if (end == std::string::npos) break;
  }
  return {H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, "/" + name};
}

void write_attribute(hid_t object, const char* name, std::int64_t value) {
  write_scalar(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}
void write_attribute(hid_t object, const char* name, std::uint64_t value) {
  write_scalar(object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value);
}
void write_attribute(hid_t object, const char* name, const std::string& value) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "a string type");
  must(H5Tset_size(type.get(), std::max<std::size_t>(1, value.size())), name);
  must(H5Tset_cset(type.get(), H5T_CSET_UTF8), name);
  must(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), name);
  write_scalar(object, name, type.get(), type.get(), value.empty() ? "\0" : value.data());
}

std::int64_t read_integer_attribute(hid_t object, const char* name) {
  std::int64_t value = 0;
  read_scalar(object, name, H5T_STD_I64LE, &value);
  return value;
}
std::uint64_t read_hash_attribute(hid_t object, const char* name) {
  std::uint64_t value = 0;
  read_scalar(object, name, H5T_STD_U64LE, &value);
  return value;
}
std::string read_string_attribute(hid_t object, const char* name) {
  Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, std::string("attribute ") + name);
  Handle type(H5Aget_type(attribute.get()), H5Tclose, "a type");
  Handle space(H5Aget_space(attribute.get()), H5Sclose, "a dataspace");
  const std::size_t length = H5Tget_size(type.get());
  std::string value;
  if (H5Tget_class(type.get()) == H5T_STRING && H5Tis_variable_str(type.get()) == 0 && length > 0 &&
      length <= 65536 && H5Sget_simple_extent_npoints(space.get()) == 1)
    value.resize(length);
  if (value.empty() || H5Aread(attribute.get(), type.get(), value.data()) < 0)
    throw Error(ErrorCode::corrupt, std::string("attribute ") + name + " is no text");
  return value.substr(0, value.find('\0'));
}

}  // namespace wsp::h5

namespace wsp {
void share_hdf5() { h5::shared_library = true; }
}  // namespace wsp
