#include <bit>
#include <cstring>

#include "bindings.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/tensor_header.hpp"
#include "train/eval/features.hpp"

namespace wsp::python {
namespace {

py::dict features(const std::filesystem::path& path) {
  train::FeatureTable t;
  {
    const py::gil_scoped_release release;
    t = train::read_features(path);
  }
  py::dict slices, cases, all;
  slices["case"] = array_of(t.case_id);
  if (!t.slice.empty()) slices["source_index"] = array_of(t.slice);
  slices["depth"] = array_of(t.depth);
  slices["content"] = array_of(t.content);
  using Case = train::FeatureCase;
  const auto words = [&](std::string Case::*member) {
    return text_column(t.cases, [member](const Case& c) { return c.*member; });
  };
  cases["name"] = words(&Case::name);
  cases["subject"] = words(&Case::subject);
  cases["kernel"] = words(&Case::kernel);
  cases["scanner"] = words(&Case::scanner);
  cases["phase"] = words(&Case::phase);
  cases["spacing_mm"] = column<double>(t.cases, [](const Case& c) { return c.spacing_mm; });
  cases["pixel_mm"] = column<double>(t.cases, [](const Case& c) { return c.pixel_mm; });
  cases["trained_on"] = column<std::int64_t>(t.cases, [](const Case& c) { return c.trained_on; });
  for (std::size_t l = 0; l < t.label_names.size(); ++l)
    cases[py::str(t.label_names[l])] = array_of(t.labels[l]);
  all["values"] = array_of(t.values, {t.rows(), t.dimensions});
  all["slices"] = slices;
  all["cases"] = cases;
  all["label_names"] = t.label_names;
  all["label_words"] = t.label_words;
  all["facts"] = t.facts;
  return all;
}

// A whole safetensors file: (metadata, [(name, dtype, shape, first byte, end)], whether it carries
// a hash). As read_tensor_file() checks it, without Torch.
py::tuple tensor_file(const py::bytes& file) {
  const std::string_view bytes = file;
  constexpr std::size_t kLength = 8;
  if (bytes.size() < kLength)
    throw Error(ErrorCode::corrupt, "a file of " + std::to_string(bytes.size()) +
                                        " bytes is too short for safetensors");
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLength);
  if (length > std::min<std::uint64_t>(kLargestHeader, bytes.size() - kLength))
    throw Error(ErrorCode::corrupt, "a header of " + std::to_string(length) +
                                        " bytes is announced in a file of " +
                                        std::to_string(bytes.size()));
  const std::string_view text = bytes.substr(kLength, length);
  const std::string_view data = bytes.substr(kLength + length);
  TensorHeader header = parse_tensor_header(text, data.size());
  const auto stored = take_hash(header, text);
  if (stored) {
    Sha256 hash;
    hash.update(bytes.substr(0, kLength + stored->position));
    hash.update(std::string(kHashDigits, '0'));
    hash.update(text.substr(stored->position + kHashDigits));
    hash.update(data);
    if (hex(hash.finish()) != stored->digits)
      throw Error(ErrorCode::corrupt,
                  "its SHA-256 is not the one that it was written with: damaged");
  }
  py::list entries;
  const std::uint64_t first = kLength + length;
  for (const TensorEntry& e : header.entries)
    entries.append(py::make_tuple(e.name, e.dtype, e.shape, first + e.begin, first + e.end));
  return py::make_tuple(header.metadata, entries, stored.has_value());
}

// The weights of one axis as a matrix [to][from], and what they sum to.
py::tuple dense(const train::Resizer::Axis& axis) {
  py::array_t<double> matrix({axis.to, axis.from});
  auto m = matrix.mutable_unchecked<2>();
  for (std::int64_t o = 0; o < axis.to; ++o) {
    for (std::int64_t i = 0; i < axis.from; ++i) m(o, i) = 0;
    for (std::int32_t k = 0; k < axis.taps; ++k)
      if (const auto w = axis.weights[static_cast<std::size_t>(k * axis.to + o)]; w != 0)
        m(o, axis.first[static_cast<std::size_t>(o)] + k) = w;
  }
  return py::make_tuple(matrix, axis.total);
}

}  // namespace

void bind_files(py::module_& module) {
  module.def("read_features", &features, py::arg("path"));
  module.def("read_tensor_file", &tensor_file, py::arg("file"));
  module.def(
      "resize_weights",
      [](std::int64_t height, std::int64_t width, std::int64_t size) {
        const train::Resizer resizer(height, width, size);
        return py::make_tuple(dense(resizer.rows()), dense(resizer.columns()));
      },
      py::arg("height"), py::arg("width"), py::arg("size"));
}

}  // namespace wsp::python
