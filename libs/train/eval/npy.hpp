#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

/// NumPy's file format (.npy) for matrices of features.
namespace wsp::train {

struct NpyMatrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;  ///< [rows][columns]
};

/// Read a matrix. Only two dimensions, C or Fortran order, little-endian float32 or float64
/// (rounded to float32), finite, and not a byte too few or too many. Throws Error(no_input) where
/// there is no such file, Error(usage) naming what it holds instead.
NpyMatrix read_npy(const std::filesystem::path& path);

/// Write [rows][columns] float32 atomically, format 1.0.
void write_npy(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns,
               std::span<const float> values);

}  // namespace wsp::train
