#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "io/core/wire.hpp"

/// Disposable processes for work on foreign bytes, so that what a file does to a library it does to
/// a process that holds nothing else.
///
///   this process --(socket)--> forker --fork--> worker, worker, ...
///        \_______________(a socket and a memory file each)______/
///
/// The forker is forked before this process has read anything, and best before it has other
/// threads; it does nothing but fork. A worker serves one request after another, each the address
/// of a function of this program with its arguments (io/core/wire); large results stay in the
/// memory file, which it cannot shrink. All of them die with this process.
namespace wsp {

/// What one worker may take.
struct WorkerLimits {
  std::uint64_t memory_bytes =
      0;  ///< beyond what it starts with; its results may take as much again
  double cpu_seconds =
      60;  ///< of one request, beside what its caller allows; ten times that asleep
};

/// What a worker runs: it reads arguments and writes a result.
using WorkerTask = void (*)(wire::Reader& request, wire::Writer& reply);

/// The worker died, or was ended because it took too long, or answered what cannot be.
class WorkerLost : public std::runtime_error {
 public:
  WorkerLost(bool timed_out, const std::string& how)
      : std::runtime_error(how), timed_out_(timed_out) {}
  [[nodiscard]] bool timed_out() const { return timed_out_; }

 private:
  bool timed_out_;
};

class WorkerPool {
 public:
  /// Start the forker, and be worker_pool() from here on; there is one at a time. `prepare`, or
  /// null, is called there before the first worker: it loads what workers cannot, as they may map
  /// no code. Throws Error(failure) where the system lets no worker live.
  explicit WorkerPool(const WorkerLimits& limits, void (*prepare)() = nullptr);
  /// Ends all workers. No result may be in use any more.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  class Worker;
  /// The bytes of a result; its worker serves nobody else while they, or what borrows from them,
  /// live.
  class Reply {
   public:
    /// Throws WorkerLost where it is no T, and the worker is not asked again.
    template <class T>
    T get() const {
      try {
        wire::Reader reader(bytes_, shared_, worker_);
        T value = reader.get<T>();
        reader.finish();
        return value;
      } catch (const wire::Malformed& e) {
        give_up();
        throw WorkerLost(false, e.what());
      }
    }
    /// Never ask this worker again.
    void give_up() const;

   private:
    friend class WorkerPool;
    std::string bytes_;
    std::span<const char> shared_;
    std::shared_ptr<Worker> worker_;
  };

  /// Run `task` in a worker, a new one where all are busy. A request that loses a worker which had
  /// served others before, or which somebody else killed, gets one more, new: what an earlier file
  /// did is not this one's fault. `more_seconds()` is asked for once the request has used up
  /// cpu_seconds: what else it may take. Thread-safe. Throws WorkerLost, and what the task threw:
  /// std::bad_alloc, wsp::Error, else std::runtime_error.
  Reply call(WorkerTask task, const std::string& request,
             const std::function<double()>& more_seconds);
  /// End all workers now, with whatever they do; calls fail from here on. For a program that is
  /// about to become another.
  void kill();

 private:
  std::shared_ptr<Worker> check_out(bool fresh);
  std::unique_ptr<Worker> start_worker();
  int bury(Worker& worker);

  WorkerLimits limits_;
  int forker_ = -1, control_ = -1;
  std::mutex control_mutex_, idle_mutex_;
  std::vector<std::unique_ptr<Worker>> idle_;
};

/// The pool of this process, or null: then foreign bytes are read in this process.
WorkerPool* worker_pool();

}  // namespace wsp
