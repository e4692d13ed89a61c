#include <string>
#include <vector>

#include "bindings.hpp"
#include "io/core/error.hpp"

namespace {

namespace py = pybind11;

const char* name_of(wsp::ErrorCode code) {
  switch (code) {
    case wsp::ErrorCode::failure:
      return "failure";
    case wsp::ErrorCode::usage:
      return "usage";
    case wsp::ErrorCode::no_input:
      return "no_input";
    case wsp::ErrorCode::output:
      return "output";
    case wsp::ErrorCode::corrupt:
      return "corrupt";
    case wsp::ErrorCode::interrupted:
      return "interrupted";
  }
  return "failure";
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const wsp::Error& e) {
    const py::object type = py::module_::import("wsp._errors").attr("Error");
    const py::object error = type(e.what(), name_of(e.code()));
    PyErr_SetObject(type.ptr(), error.ptr());
  }
}

// An older pybind11 and a newer NumPy give arrays with wrong values, not errors.
void check_numpy() {
  const std::vector<int> numbers{1, 2, 3};
  const auto same = [](int n) { return n; };
  for (const py::object& array : {py::object(wsp::python::array_of(numbers)),
                                  py::object(wsp::python::column<int>(numbers, same))})
    if (py::cast<std::vector<int>>(array.attr("tolist")()) != numbers)
      throw py::import_error(
          "wsp was built with a pybind11 that does not know NumPy " +
          py::cast<std::string>(py::module_::import("numpy").attr("__version__")) +
          ": build it again with pybind11 2.12 or later, or install an older NumPy");
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  check_numpy();
  module.doc() = "The readers of the WSP toolkit; use them through the package wsp.";
  wsp::share_hdf5();  // with h5py
  module.attr("__version__") = WSP_VERSION;
  py::register_exception_translator(translate);
  wsp::python::bind_dataset(module);
  wsp::python::bind_loader(module);
  wsp::python::bind_files(module);
}
