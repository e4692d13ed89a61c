// In place of png.cpp where libpng is absent.
#include "io/core/error.hpp"
#include "io/core/png.hpp"

namespace wsp {
namespace {

[[noreturn]] std::string refuse() {
  throw Error(ErrorCode::failure,
              "this build writes no PNG: install libpng-dev and configure with -DWSP_WITH_PNG=ON");
}

}  // namespace

bool png_available() { return false; }
std::string encode_grey_png(std::int64_t, std::int64_t, std::span<const std::uint8_t>) { refuse(); }

}  // namespace wsp
