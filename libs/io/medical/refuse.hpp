#pragma once
#include "io/core/outcome.hpp"

/// Why a series is not read, or a mask not taken. Internal to io/medical.
namespace wsp {

[[nodiscard]] inline Rejection refuse_read(Code code, std::string detail) {
  return {"", "read", code, std::move(detail)};
}

[[nodiscard]] inline Rejection refuse_mask(Code code, std::string detail) {
  return {"", "mask", code, std::move(detail)};
}

}  // namespace wsp
