#include "train/data/batch_buffer.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::size_t kAlignment = 64, kHugePage = std::size_t{2} << 20;

}  // namespace

BufferAllocator host_allocator() {
  return {[](std::size_t bytes) {
            // A batch is written once and read once, so huge pages spare most of its page walks.
            const bool huge = bytes >= 2 * kHugePage;
            const std::size_t unit = huge ? kHugePage : kAlignment;
            const std::size_t size = std::max<std::size_t>(1, (bytes + unit - 1) / unit) * unit;
            void* data = std::aligned_alloc(unit, size);
            if (data == nullptr)
              throw Error(ErrorCode::failure,
                          fmt::format("no memory for a batch of {} MiB: lower the batch size, the "
                                      "image size or the ring",
                                      bytes >> 20));
            if (huge) (void)::madvise(data, size, MADV_HUGEPAGE);  // a wish: it may be refused
            return data;
          },
          [](void* data) { std::free(data); }};
}

}  // namespace wsp::train
