#include "io/shard/hdf5_file.hpp"

#include <blosc.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace wsp::h5 {
namespace {

constexpr H5Z_filter_t kBloscFilter = 32001;
constexpr hsize_t kMaxElements = hsize_t{1} << 32;  // more rows than any cohort has: a lying header

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
  if (status < 0) throw Error(ErrorCode::output, std::string("HDF5 cannot write ") + what + "; is the disk full?");
}

template <class T>
void write_values(hid_t group, const char* name, const std::vector<T>& values, hid_t file_type, hid_t memory_type) {
  const hsize_t n = values.size();
  Handle space(H5Screate_simple(1, &n, nullptr), H5Sclose, name, ErrorCode::output);
  Handle properties = dataset_properties();
  Handle set(H5Dcreate2(group, name, file_type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
             H5Dclose, name, ErrorCode::output);
  if (n > 0) must(H5Dwrite(set.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), name);
  set.close();
}

Handle string_type(std::size_t length) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "a string type");
  if (H5Tset_size(type.get(), std::max<std::size_t>(1, length)) < 0 || H5Tset_cset(type.get(), H5T_CSET_UTF8) < 0 ||
      H5Tset_strpad(type.get(), H5T_STR_NULLPAD) < 0)
    throw Error(ErrorCode::failure, "HDF5 cannot make a string type");
  return type;
}

Handle open_column(hid_t file, const std::string& name, H5T_class_t expected, hsize_t& n) {
  Handle set(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, name.c_str());
  Handle space(H5Dget_space(set.get()), H5Sclose, "a dataspace");
  hsize_t dims[1] = {0};
  Handle type(H5Dget_type(set.get()), H5Tclose, "a type");
  if (H5Sget_simple_extent_ndims(space.get()) != 1 || H5Sget_simple_extent_dims(space.get(), dims, nullptr) != 1 ||
      dims[0] > kMaxElements || H5Tget_class(type.get()) != expected)
    throw Error(ErrorCode::corrupt, "column " + name + " has another shape or type than expected");
  // A header may claim more rows than the file can hold.
  hsize_t file_size = 0;
  if (H5Fget_filesize(file, &file_size) < 0 || dims[0] > file_size)
    throw Error(ErrorCode::corrupt, "column " + name + " claims more rows than the file holds");
  n = dims[0];
  return set;
}

template <class T>
std::vector<T> read_values(hid_t file, const std::string& name, hid_t memory_type, H5T_class_t expected) {
  hsize_t n = 0;
  Handle set = open_column(file, name, expected, n);
  std::vector<T> values(n);
  if (n > 0 && H5Dread(set.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    throw Error(ErrorCode::corrupt, "column " + name + " cannot be read");
  return values;
}

}  // namespace

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);
    static const H5Z_class2_t filter{H5Z_CLASS_T_VERS, kBloscFilter, 1, 1, "blosc", nullptr, nullptr, blosc_filter};
    if (H5Zregister(&filter) < 0) throw Error(ErrorCode::failure, "HDF5 cannot register the Blosc filter");
  });
}

Handle create_file(const std::filesystem::path& path) {
  initialise();
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "file properties", ErrorCode::output);
  must(H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "file properties");
  // The root group is an object too: without this its time of birth stands in the file.
  Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "file properties", ErrorCode::output);
  must(H5Pset_obj_track_times(creation.get(), false), "file properties");
  return {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose, path.filename().c_str(),
          ErrorCode::output};
}

Handle create_group(hid_t parent, const char* name) {
  Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "group properties", ErrorCode::output);
  must(H5Pset_obj_track_times(properties.get(), false), "group properties");
  return {H5Gcreate2(parent, name, H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Gclose, name, ErrorCode::output};
}

Handle open_file(const std::filesystem::path& path) {
  initialise();
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "file properties");
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (id < 0)
    throw Error(ErrorCode::corrupt, path.filename().string() + " is no HDF5 file that can be opened");
  return {id, H5Fclose, "an HDF5 file"};
}

Handle dataset_properties() {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "dataset properties", ErrorCode::output);
  must(H5Pset_obj_track_times(properties.get(), false), "dataset properties");
  return properties;
}

void write_column(hid_t g, const char* name, const std::vector<double>& v) {
  write_values(g, name, v, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE);
}
void write_column(hid_t g, const char* name, const std::vector<std::int64_t>& v) {
  write_values(g, name, v, H5T_STD_I64LE, H5T_NATIVE_INT64);
}
void write_column(hid_t g, const char* name, const std::vector<std::int32_t>& v) {
  write_values(g, name, v, H5T_STD_I32LE, H5T_NATIVE_INT32);
}
void write_column(hid_t g, const char* name, const std::vector<std::uint64_t>& v) {
  write_values(g, name, v, H5T_STD_U64LE, H5T_NATIVE_UINT64);
}
void write_column(hid_t g, const char* name, const std::vector<std::uint32_t>& v) {
  write_values(g, name, v, H5T_STD_U32LE, H5T_NATIVE_UINT32);
}
void write_column(hid_t g, const char* name, const std::vector<std::string>& v) {
  std::size_t length = 1;
  for (const std::string& s : v) length = std::max(length, s.size());
  std::vector<char> flat(length * v.size(), '\0');
  for (std::size_t i = 0; i < v.size(); ++i)
    std::copy(v[i].begin(), v[i].end(), flat.begin() + static_cast<std::ptrdiff_t>(i * length));
  const Handle type = string_type(length);
  const hsize_t n = v.size();
  Handle space(H5Screate_simple(1, &n, nullptr), H5Sclose, name, ErrorCode::output);
  Handle properties = dataset_properties();
  Handle set(H5Dcreate2(g, name, type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose,
             name, ErrorCode::output);
  if (n > 0) must(H5Dwrite(set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, flat.data()), name);
  set.close();
}

void write_attribute(hid_t object, const char* name, std::int64_t value) {
  Handle space(H5Screate(H5S_SCALAR), H5Sclose, name, ErrorCode::output);
  Handle attribute(H5Acreate2(object, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose, name,
                   ErrorCode::output);
  must(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), name);
}
void write_attribute(hid_t object, const char* name, const std::string& value) {
  const Handle type = string_type(value.size());
  Handle space(H5Screate(H5S_SCALAR), H5Sclose, name, ErrorCode::output);
  Handle attribute(H5Acreate2(object, name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose, name,
                   ErrorCode::output);
  must(H5Awrite(attribute.get(), type.get(), value.empty() ? "\0" : value.data()), name);
}

std::vector<double> read_doubles(hid_t file, const std::string& name) {
  return read_values<double>(file, name, H5T_NATIVE_DOUBLE, H5T_FLOAT);
}
std::vector<std::int64_t> read_integers(hid_t file, const std::string& name) {
  return read_values<std::int64_t>(file, name, H5T_NATIVE_INT64, H5T_INTEGER);
}
std::vector<std::uint64_t> read_hashes(hid_t file, const std::string& name) {
  return read_values<std::uint64_t>(file, name, H5T_NATIVE_UINT64, H5T_INTEGER);
}
std::vector<std::string> read_strings(hid_t file, const std::string& name) {
  hsize_t n = 0;
  Handle set = open_column(file, name, H5T_STRING, n);
  Handle stored(H5Dget_type(set.get()), H5Tclose, "a type");
  const std::size_t length = H5Tget_size(stored.get());
  if (H5Tis_variable_str(stored.get()) != 0 || length == 0 || length > 65536)
    throw Error(ErrorCode::corrupt, "column " + name + " is not of fixed-length strings");
  std::vector<char> flat(length * n);
  if (n > 0 && H5Dread(set.get(), stored.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, flat.data()) < 0)
    throw Error(ErrorCode::corrupt, "column " + name + " cannot be read");
  std::vector<std::string> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    const char* begin = flat.data() + i * length;
    values[i].assign(begin, std::find(begin, begin + length, '\0'));
  }
  return values;
}

std::int64_t read_integer_attribute(hid_t file, const char* name) {
  Handle attribute(H5Aopen(file, name, H5P_DEFAULT), H5Aclose, name);
  Handle type(H5Aget_type(attribute.get()), H5Tclose, "a type");
  Handle space(H5Aget_space(attribute.get()), H5Sclose, "a dataspace");
  std::int64_t value = 0;
  if (H5Tget_class(type.get()) != H5T_INTEGER || H5Sget_simple_extent_npoints(space.get()) != 1 ||
      H5Aread(attribute.get(), H5T_NATIVE_INT64, &value) < 0)
    throw Error(ErrorCode::corrupt, std::string("attribute ") + name + " is no integer");
  return value;
}
std::string read_string_attribute(hid_t file, const char* name) {
  Handle attribute(H5Aopen(file, name, H5P_DEFAULT), H5Aclose, name);
  Handle type(H5Aget_type(attribute.get()), H5Tclose, "a type");
  Handle space(H5Aget_space(attribute.get()), H5Sclose, "a dataspace");
  const std::size_t length = H5Tget_size(type.get());
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0 || length > 65536 ||
      H5Sget_simple_extent_npoints(space.get()) != 1)
    throw Error(ErrorCode::corrupt, std::string("attribute ") + name + " is no text");
  std::string value(length, '\0');
  if (H5Aread(attribute.get(), type.get(), value.data()) < 0)
    throw Error(ErrorCode::corrupt, std::string("attribute ") + name + " cannot be read");
  return value.substr(0, value.find('\0'));
}

}  // namespace wsp::h5
