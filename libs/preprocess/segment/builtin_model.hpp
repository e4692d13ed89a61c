#pragma once
#include <filesystem>
#include <optional>

namespace wsp {

/// The descriptor of the liver network that comes with the tools (models/liver): below share/wsp of
/// the installation that this program is part of, or in the source tree that it was built from;
/// nothing where there is none.
std::optional<std::filesystem::path> builtin_liver_model();

/// True where this program goes on for one without LibTorch (switch_to_torch_build()), which has
/// said already what a start has to say.
bool goes_on_with_torch();
/// Says so from the one to the other.
inline constexpr const char* kGoesOn = "WSP_GOES_ON_WITH_TORCH";

}  // namespace wsp
