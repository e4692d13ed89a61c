// Data manifests.
#include "io/manifest/manifest.hpp"

#include "fuzz.hpp"
#include "io/core/error.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)wsp::load_manifest(wsp::fuzz::file_of(data, size, ".json"));
  } catch (const wsp::Error&) {
  }
  return 0;
}
