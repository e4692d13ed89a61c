#include <itkNiftiImageIO.h>

#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"

namespace wsp {
namespace {

void write(const std::filesystem::path& path, const Geometry& geometry, const void* values,
           itk::ImageIOBase::IOComponentEnum type) {
  try {
    const auto io = itk::NiftiImageIO::New();
    io->SetFileName(path.string());
    io->SetNumberOfDimensions(3);
    io->SetComponentType(type);
    io->SetPixelType(itk::ImageIOBase::SCALAR);
    io->SetNumberOfComponents(1);
    itk::ImageIORegion region(3);
    for (unsigned k = 0; k < 3; ++k) {
      io->SetDimensions(k, static_cast<itk::SizeValueType>(geometry.size[k]));
      io->SetSpacing(k, geometry.spacing_mm[k]);
      io->SetOrigin(k, geometry.origin_mm[k]);
      io->SetDirection(k, std::vector<double>(geometry.axis[k].begin(), geometry.axis[k].end()));
      region.SetIndex(k, 0);
      region.SetSize(k, static_cast<itk::SizeValueType>(geometry.size[k]));
    }
    io->SetIORegion(region);
    io->Write(values);
  } catch (const std::exception& e) {
    throw Error(ErrorCode::output, "cannot write " + path.string() + ": " + e.what());
  }
}

}  // namespace

void write_nifti(const std::filesystem::path& path, const Geometry& geometry, const std::vector<std::int16_t>& values) {
  write(path, geometry, values.data(), itk::ImageIOBase::SHORT);
}
void write_nifti(const std::filesystem::path& path, const Geometry& geometry, const std::vector<std::uint8_t>& values) {
  write(path, geometry, values.data(), itk::ImageIOBase::UCHAR);
}

}  // namespace wsp
