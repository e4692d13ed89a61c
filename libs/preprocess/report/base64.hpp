#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace wsp::qa {

/// RFC 4648 with padding, on one line.
std::string base64(std::span<const std::uint8_t> bytes);

}  // namespace wsp::qa
