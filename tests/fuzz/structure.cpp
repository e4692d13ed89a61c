// The look at a DICOM file's structure before DCMTK gets it.
#include "fuzz.hpp"
#include "io/medical/dicom_nesting.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)wsp::dicom::inspect_structure(wsp::fuzz::file_of(data, size, ".dcm"));
  return 0;
}
