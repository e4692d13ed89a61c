#pragma once
#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace wsp::train {

/// A safetensors file in memory: named CPU tensors, and the text metadata. Names are sorted in the
/// header; the data stands in the order of element size and name, which aligns every tensor.
struct TensorFile {
  std::map<std::string, torch::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Write a file atomically (io/core/atomic_file). The same content gives the same bytes. Unless
/// `hashed` is false, the metadata gains "wsp.sha256" over the header (that field's digits set to
/// 0) and all data, which read_tensor_file() then checks.
void write_tensor_file(const std::filesystem::path& path, const TensorFile& file,
                       bool hashed = true);
/// Read and check a file: header length, JSON, dtypes, offsets that tile the data exactly, no
/// overlap, no absurd size. Throws Error(corrupt) saying what is wrong, Error(failure) where it
/// cannot be read. Nothing in it is executed. A file without "wsp.sha256" is taken with a note, as
/// that of another program, or with `require_hash` refused.
TensorFile read_tensor_file(const std::filesystem::path& path, bool require_hash = false);

}  // namespace wsp::train
