#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {

/// Compress one slice into a Blosc 1 chunk (byte shuffle where type_size > 1, LZ4) that any Blosc
/// decodes, and decodes faster than what Blosc itself writes: c-blosc takes every match that saves
/// a byte, and a decoder mispredicts a branch at each of them. This encoder takes
///   - no match shorter than 12 bytes: at the edges of organs the planes of CT slices are full of
///     such ones, which save little;
///   - no match nearer than 16 bytes, and runs (air, bytes that are all zero) by copies from 512
///     bytes before: a copy of what was just written waits for the write.
/// raw: the slice's bytes; type_size: 1 or 2. Returns the whole chunk: one internal block of 256
/// KiB after the other, independent of machine and threads, or an empty vector where this would not
/// be smaller than raw. Source: the LZ4 block format and the Blosc 1 chunk format, as their
/// projects document them.
std::vector<std::uint8_t> encode_blosc_lz4(std::span<const std::uint8_t> raw, int type_size);

}  // namespace wsp
