#include "bindings.hpp"
#include "io/core/error.hpp"

namespace wsp::python {
namespace {

// What a thread keeps between slices.
struct Scratch {
  ReadScratch read;
  std::vector<std::int16_t> image;
  std::vector<std::uint8_t> mask;
  std::vector<std::int32_t> sums;
};
thread_local Scratch scratch;

py::dict slice_columns(const Reader& reader) {
  const auto& slices = reader.data().slices();
  const auto number = [&]<class T>(T IndexRow::*member) {
    return column<T>(slices, [member](const IndexRow& row) { return row.*member; });
  };
  py::dict columns;
  columns["case"] = number(&IndexRow::case_id);
  columns["source_index"] = number(&IndexRow::source_index);
  columns["z_mm"] = number(&IndexRow::z_mm);
  columns["depth_kept"] = number(&IndexRow::depth_kept);
  columns["depth_liver"] = number(&IndexRow::depth_liver);
  columns["depth_volume"] = number(&IndexRow::depth_volume);
  columns["liver_area_mm2"] = number(&IndexRow::liver_area_mm2);
  columns["shard"] = number(&IndexRow::shard);
  columns["row"] = number(&IndexRow::row);
  return columns;
}

py::dict case_columns(const Reader& reader) {
  const auto& cases = reader.data().cases();
  const auto words = [&](std::string IndexCase::*member) {
    return text_column(cases, [member](const IndexCase& c) { return c.*member; });
  };
  py::dict columns;
  columns["name"] = words(&IndexCase::name);
  columns["subject"] = words(&IndexCase::subject);
  columns["split"] = words(&IndexCase::split);
  columns["flags"] = text_column(cases, [](const IndexCase& c) { return flag_words(c.flags); });
  columns["source_hash"] = words(&IndexCase::source_hash);
  columns["first_slice"] =
      column<std::int64_t>(cases, [](const IndexCase& c) { return c.first_slice; });
  columns["slice_count"] =
      column<std::int64_t>(cases, [](const IndexCase& c) { return c.slice_count; });
  columns["pixel_x_mm"] = column<double>(cases, [](const IndexCase& c) { return c.pixel_mm[0]; });
  columns["pixel_y_mm"] = column<double>(cases, [](const IndexCase& c) { return c.pixel_mm[1]; });
  columns["spacing_mm"] = column<double>(cases, [](const IndexCase& c) { return c.spacing_mm; });
  columns["liver_ml"] = column<double>(cases, [](const IndexCase& c) { return c.liver_ml; });
  const auto& labels = reader.data().layout().label_names;
  for (std::size_t l = 0; l < labels.size(); ++l)
    columns[py::str(labels[l])] =
        column<std::int64_t>(cases, [l](const IndexCase& c) { return c.labels[l]; });
  const auto& continuous = reader.data().layout().continuous_names;
  for (std::size_t l = 0; l < continuous.size(); ++l)
    columns[py::str(continuous[l])] =
        column<double>(cases, [l](const IndexCase& c) { return c.continuous[l]; });
  return columns;
}

}  // namespace

Reader::Reader(const std::filesystem::path& dataset, std::int64_t image_size) : data_(dataset) {
  const DatasetLayout& layout = data_.layout();
  if (image_size != 0) resizer_.emplace(layout.height, layout.width, image_size);
  if (resizer_ && resizer_->is_identity()) resizer_.reset();
}

std::pair<std::int64_t, std::int64_t> Reader::shape() const {
  if (resizer_) return {resizer_->rows().to, resizer_->columns().to};
  return {data_.layout().height, data_.layout().width};
}

py::array_t<std::int16_t> Reader::image(std::size_t i) const {
  const auto [height, width] = shape();
  py::array_t<std::int16_t> image({height, width});
  const std::span out(image.mutable_data(), static_cast<std::size_t>(image.size()));
  const py::gil_scoped_release release;
  if (!resizer_) {
    data_.read_image(i, out, scratch.read);
  } else {
    scratch.image.resize(static_cast<std::size_t>(data_.layout().height * data_.layout().width));
    data_.read_image(i, scratch.image, scratch.read);
    resizer_->image(scratch.image, out, scratch.sums);
  }
  return image;
}

py::array_t<std::uint8_t> Reader::mask(std::size_t i) const {
  const auto [height, width] = shape();
  py::array_t<std::uint8_t> mask({height, width});
  const std::span out(mask.mutable_data(), static_cast<std::size_t>(mask.size()));
  const py::gil_scoped_release release;
  if (!resizer_) {
    data_.read_mask(i, out, scratch.read);
  } else {
    scratch.mask.resize(static_cast<std::size_t>(data_.layout().height * data_.layout().width));
    data_.read_mask(i, scratch.mask, scratch.read);
    resizer_->mask(scratch.mask, out);
  }
  return mask;
}

void bind_dataset(py::module_& module) {
  py::class_<Reader, std::shared_ptr<Reader>>(module, "Reader")
      .def(py::init<const std::filesystem::path&, std::int64_t>(), py::arg("dataset"),
           py::arg("image_size"), py::call_guard<py::gil_scoped_release>())
      .def("__len__", [](const Reader& r) { return r.data().slices().size(); })
      .def_property_readonly("shape", &Reader::shape)
      .def_property_readonly("state", [](const Reader& r) { return r.data().state().string(); })
      .def_property_readonly("codec",
                             [](const Reader& r) { return to_string(r.data().layout().codec); })
      .def_property_readonly("continuous_names",
                             [](const Reader& r) { return r.data().layout().continuous_names; })
      .def_property_readonly("label_names",
                             [](const Reader& r) { return r.data().layout().label_names; })
      .def_property_readonly("label_words", [](const Reader& r) { return r.data().label_words(); })
      .def("slice_columns", &slice_columns)
      .def("case_columns", &case_columns)
      .def("image", &Reader::image, py::arg("row"))
      .def("mask", &Reader::mask, py::arg("row"))
      .def("lists", [](const Reader& r, const std::string& name) { return r.data().lists(name); })
      .def("read_listed", [](const Reader& r, const std::string& name) {
        return py::bytes(r.data().read_listed(name));
      });
}

}  // namespace wsp::python
