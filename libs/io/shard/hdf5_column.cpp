#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "io/core/hash.hpp"
#include "io/shard/hdf5_file.hpp"

namespace wsp::h5 {
namespace {

static_assert(std::endian::native == std::endian::little,
              "columns are stored as they stand in memory");

constexpr std::size_t kMaxString = 65536;
constexpr char kHash[] = "xxh3";

void write_bytes(hid_t group, const char* name, hid_t type, std::size_t rows,
                 std::span<const std::uint8_t> bytes) {
  const hsize_t n = rows;
  Handle space(H5Screate_simple(1, &n, nullptr), H5Sclose, name, ErrorCode::output);
  Handle properties = dataset_properties();
  Handle set(H5Dcreate2(group, name, type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
             H5Dclose, std::string("column ") + name, ErrorCode::output);
  if (n > 0 && H5Dwrite(set.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()) < 0)
    throw Error(ErrorCode::output,
                std::string("HDF5 cannot write column ") + name + "; is the disk full?");
  write_attribute(set.get(), kHash, xxh3_64(bytes));
  set.close();
}

template <class T>
void write_values(hid_t group, const char* name, hid_t type, const std::vector<T>& values) {
  write_bytes(group, name, type, values.size(), bytes_of(std::span<const T>(values)));
}

// The stored bytes of a column, hash checked, and what one element is.
struct Raw {
  std::vector<std::uint8_t> bytes;
  std::size_t rows;
  std::size_t width;
  Handle type;
};

Raw read_raw(hid_t file, const std::string& name) {
  const auto refuse = [&](const char* why) -> Error {
    return {ErrorCode::corrupt, "column /" + name + " " + why};
  };
  Handle set = open_dataset(file, name);
  Handle space(H5Dget_space(set.get()), H5Sclose, "a dataspace");
  Handle type(H5Dget_type(set.get()), H5Tclose, "a type");
  Handle properties(H5Dget_create_plist(set.get()), H5Pclose, "dataset properties");
  hsize_t rows = 0;
  if (H5Sget_simple_extent_ndims(space.get()) != 1 ||
      H5Sget_simple_extent_dims(space.get(), &rows, nullptr) != 1)
    throw refuse("is not one-dimensional");
  // Nothing but plain bytes inside this file: no filters, no external or virtual storage.
  if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS ||
      H5Pget_external_count(properties.get()) != 0)
    throw refuse("is not stored as plain bytes");
  const H5T_class_t kind = H5Tget_class(type.get());
  const std::size_t width = H5Tget_size(type.get());
  if ((kind != H5T_INTEGER && kind != H5T_FLOAT && kind != H5T_STRING) || width == 0 ||
      width > kMaxString || (kind == H5T_STRING && H5Tis_variable_str(type.get()) != 0))
    throw refuse("has another type than expected");
  // A header may claim more rows than the file can hold.
  hsize_t file_size = 0;
  if (H5Fget_filesize(file, &file_size) < 0 || rows > file_size / width)
    throw refuse("claims more rows than the file holds");
  Raw raw{std::vector<std::uint8_t>(rows * width), rows, width, std::move(type)};
  if (rows > 0 &&
      H5Dread(set.get(), raw.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, raw.bytes.data()) < 0)
    throw refuse("cannot be read");
  if (xxh3_64(raw.bytes) != read_hash_attribute(set.get(), kHash))
    throw refuse("differs from its hash");
  return raw;
}

template <class T, class As>
std::vector<As> widened(const Raw& raw) {
  std::vector<T> values(raw.rows);
  if (raw.rows > 0) std::memcpy(values.data(), raw.bytes.data(), raw.bytes.size());
  return {values.begin(), values.end()};
}

Error wrong_type(const std::string& name) {
  return {ErrorCode::corrupt, "column /" + name + " has another type than expected"};
}

}  // namespace

void write_column(hid_t g, const char* name, const std::vector<double>& v) {
  write_values(g, name, H5T_IEEE_F64LE, v);
}
void write_column(hid_t g, const char* name, const std::vector<std::int64_t>& v) {
  write_values(g, name, H5T_STD_I64LE, v);
}
void write_column(hid_t g, const char* name, const std::vector<std::int32_t>& v) {
  write_values(g, name, H5T_STD_I32LE, v);
}
void write_column(hid_t g, const char* name, const std::vector<std::uint64_t>& v) {
  write_values(g, name, H5T_STD_U64LE, v);
}
void write_column(hid_t g, const char* name, const std::vector<std::uint32_t>& v) {
  write_values(g, name, H5T_STD_U32LE, v);
}
void write_column(hid_t g, const char* name, const std::vector<std::string>& v) {
  std::size_t width = 1;
  for (const std::string& s : v) width = std::max(width, s.size());
  std::vector<std::uint8_t> flat(width * v.size(), 0);
  for (std::size_t i = 0; i < v.size(); ++i)
    if (!v[i].empty()) std::memcpy(flat.data() + i * width, v[i].data(), v[i].size());
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "a string type", ErrorCode::output);
  if (width > kMaxString || H5Tset_size(type.get(), width) < 0 ||
      H5Tset_cset(type.get(), H5T_CSET_UTF8) < 0 || H5Tset_strpad(type.get(), H5T_STR_NULLPAD) < 0)
    throw Error(ErrorCode::failure, std::string("column ") + name + " holds too long a text");
  write_bytes(g, name, type.get(), v.size(), flat);
}

std::vector<double> read_doubles(hid_t file, const std::string& name) {
  const Raw raw = read_raw(file, name);
  if (H5Tequal(raw.type.get(), H5T_IEEE_F64LE) <= 0) throw wrong_type(name);
  return widened<double, double>(raw);
}
std::vector<std::int64_t> read_integers(hid_t file, const std::string& name) {
  const Raw raw = read_raw(file, name);
  if (H5Tequal(raw.type.get(), H5T_STD_I64LE) > 0) return widened<std::int64_t, std::int64_t>(raw);
  if (H5Tequal(raw.type.get(), H5T_STD_I32LE) > 0) return widened<std::int32_t, std::int64_t>(raw);
  throw wrong_type(name);
}
std::vector<std::uint64_t> read_unsigned(hid_t file, const std::string& name) {
  const Raw raw = read_raw(file, name);
  if (H5Tequal(raw.type.get(), H5T_STD_U64LE) > 0)
    return widened<std::uint64_t, std::uint64_t>(raw);
  if (H5Tequal(raw.type.get(), H5T_STD_U32LE) > 0)
    return widened<std::uint32_t, std::uint64_t>(raw);
  throw wrong_type(name);
}
std::vector<std::string> read_strings(hid_t file, const std::string& name) {
  const Raw raw = read_raw(file, name);
  if (H5Tget_class(raw.type.get()) != H5T_STRING) throw wrong_type(name);
  std::vector<std::string> values(raw.rows);
  const char* at = reinterpret_cast<const char*>(raw.bytes.data());
  for (std::string& value : values) {
    value.assign(at, std::find(at, at + raw.width, '\0'));
    at += raw.width;
  }
  return values;
}

}  // namespace wsp::h5
