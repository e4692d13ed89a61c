// Headers of safetensors files.
#include <string_view>

#include "fuzz.hpp"
#include "io/core/error.hpp"
#include "io/core/tensor_header.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)wsp::parse_tensor_header({reinterpret_cast<const char*>(data), size}, 24);
  } catch (const wsp::Error&) {
  }
  return 0;
}
