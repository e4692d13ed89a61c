#pragma once
#include <filesystem>
#include <optional>

namespace wsp {

/// The descriptor of the liver network that comes with the tools (models/liver): below share/wsp of
/// the installation that this program is part of, or in the source tree that it was built from;
/// nothing where there is none.
std::optional<std::filesystem::path> builtin_liver_model();

/// True where this program goes on for one that runs no model (switch_to_build_with()), which has
/// said already what a start has to say.
bool goes_on_with_model();
/// Says so from the one to the other.
inline constexpr const char* kGoesOn = "WSP_GOES_ON_WITH_MODEL";

}  // namespace wsp
