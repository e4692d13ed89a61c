// Label tables under a manifest that asks for all kinds of columns.
#include <fstream>

#include "fuzz.hpp"
#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const wsp::DataManifest manifest =
      wsp::load_manifest(WSP_SOURCE_DIR "/data-manifests/phantom.json");
  try {
    (void)wsp::LabelTable::load(wsp::fuzz::file_of(data, size, ".csv"), manifest);
  } catch (const wsp::Error&) {
  }
  return 0;
}
