#include "preprocess/segment/builtin_model.hpp"

#include <array>
#include <cstdlib>

namespace wsp {

std::optional<std::filesystem::path> builtin_liver_model() {
  namespace fs = std::filesystem;
  std::error_code ec;
  const fs::path bin = fs::read_symlink("/proc/self/exe", ec).parent_path();
  const fs::path model = fs::path("models") / "liver" / "liver.json";
  // PREFIX/bin and PREFIX/libexec/wsp; a build tree has its sources.
  const std::array<fs::path, 3> places{bin / ".." / "share" / "wsp" / model,
                                       bin / ".." / ".." / "share" / "wsp" / model,
                                       fs::path(WSP_SOURCE_DIR) / model};
  for (const fs::path& place : places)
    if (fs::is_regular_file(place, ec)) return place.lexically_normal();
  return std::nullopt;
}

bool goes_on_with_model() { return std::getenv(kGoesOn) != nullptr; }

}  // namespace wsp
