// NRRD headers and, where they are few, voxels.
#include "fuzz.hpp"
#include "io/medical/image_header.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = wsp::fuzz::file_of(data, size, ".nrrd");
  const auto header = wsp::image::read_nrrd_header(path);
  constexpr std::int64_t kFew = 1 << 16;
  if (header && header.value().image.geometry.voxels() < kFew)
    (void)wsp::image::read_nrrd_voxels(header.value());
  return 0;
}
