#pragma once
#include <cstdint>

#include "io/core/worker_pool.hpp"

/// What the pool and its processes say to each other. Internal to io/core.
namespace wsp::worker {

struct Request {
  WorkerTask task = nullptr;
  std::uint64_t bytes = 0;  ///< of the arguments, from the memory file's start
};

enum class Status : std::uint32_t { done, no_memory, error, exception };

/// Where the reply stands in the memory file: the result, or an error's code and words.
struct Answer {
  Status status = Status::done;
  std::uint64_t offset = 0, bytes = 0;
};

enum class Order : std::uint32_t { start, end };

/// To the forker: start a worker with the two descriptors that come along, or end one. It answers
/// with the process's number, or with the status that it ended by.
struct Command {
  Order order = Order::start;
  std::int32_t pid = 0;
};

/// The forker's life, which ends when `control` is closed at the other end.
[[noreturn]] void run_forker(int control, int parent, const WorkerLimits& limits,
                             void (*prepare)());

}  // namespace wsp::worker
