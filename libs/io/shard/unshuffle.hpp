#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace wsp {

/// Undo Blosc's byte shuffle of 16-bit elements and write the result past the caches (non-temporal
/// stores, where the machine has them and `out` is aligned to 16 bytes). planes: internal blocks of
/// `block` bytes, the last one perhaps shorter, each all low bytes, then all high bytes, then a
/// byte that was left over. out: as many bytes.
void unshuffle_streamed(std::span<const std::uint8_t> planes, std::size_t block,
                        std::span<std::uint8_t> out);

}  // namespace wsp
