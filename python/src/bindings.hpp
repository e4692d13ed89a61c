#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/shard/dataset.hpp"
#include "train/data/resize.hpp"

/// The Python package's extension module, wsp._native. What users see stands in python/wsp/*.py.
namespace wsp::python {
namespace py = pybind11;

/// A dataset that stays open, and the size in which its slices come out.
class Reader {
 public:
  /// image_size: side of the square slices; 0: as stored. Throws Error as DatasetReader does.
  Reader(const std::filesystem::path& dataset, std::int64_t image_size);
  [[nodiscard]] const DatasetReader& data() const { return data_; }
  /// [height][width] of the slices that come out.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> shape() const;
  /// Row i of the index. Without the GIL while reading; any thread.
  [[nodiscard]] py::array_t<std::int16_t> image(std::size_t i) const;
  [[nodiscard]] py::array_t<std::uint8_t> mask(std::size_t i) const;

 private:
  DatasetReader data_;
  std::optional<train::Resizer> resizer_;
};

/// A one-dimensional array of get(item) for every item. By shape, not by count: pybind11
/// before 2.12 would ask NumPy for the item's size, and reads 0 from NumPy 2.
template <class T, class Items, class Get>
py::array_t<T> column(const Items& items, Get get) {
  py::array_t<T> values(std::vector<py::ssize_t>{static_cast<py::ssize_t>(items.size())});
  T* to = values.mutable_data();
  for (const auto& item : items) *to++ = get(item);
  return values;
}

/// The same of text, as a list of str.
template <class Items, class Get>
py::list text_column(const Items& items, Get get) {
  py::list values(items.size());
  std::size_t i = 0;
  for (const auto& item : items) values[i++] = py::str(get(item));
  return values;
}

/// A copy of numbers as an array of the given shape.
template <class T>
py::array_t<T> array_of(const std::vector<T>& values, std::vector<py::ssize_t> shape) {
  return py::array_t<T>(std::move(shape), values.data());
}
template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return array_of(values, {static_cast<py::ssize_t>(values.size())});
}

void bind_dataset(py::module_& module);
void bind_loader(py::module_& module);
void bind_files(py::module_& module);

}  // namespace wsp::python
