#include "train/run/distributed.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <thread>

#if defined(WSP_HAS_GLOO) || defined(WSP_HAS_NCCL)
#include <torch/version.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif
#ifdef WSP_HAS_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef WSP_HAS_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"

namespace wsp::train {

#if defined(WSP_HAS_GLOO) || defined(WSP_HAS_NCCL)

#if TORCH_VERSION_MAJOR >= 2
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;
#endif

namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

std::string first_line(const std::exception& e) {
  const std::string text = e.what();
  return text.substr(0, text.find('\n'));
}

// Run work(heard) on a thread of its own and wait for it, until it was silent for `limit` since the
// start or the last heard(). LibTorch's store waits without end for the answer of what is no store,
// or of a machine that is gone. The thread is then left behind: what it works on must be its own.
// The process ends after such an error.
template <class Work>
auto unless_silent(Milliseconds limit, Work work) {
  auto last = std::make_shared<std::atomic<Clock::rep>>(Clock::now().time_since_epoch().count());
  const auto heard = [last] { last->store(Clock::now().time_since_epoch().count()); };
  std::packaged_task<decltype(work(heard))()> task([work, heard] { return work(heard); });
  auto result = task.get_future();
  std::thread(std::move(task)).detach();
  while (result.wait_for(Milliseconds(20)) != std::future_status::ready)
    if (Clock::now().time_since_epoch() - Clock::duration(last->load()) > limit)
      throw std::runtime_error("no answer within " + std::to_string(limit.count() / 1000) + " s");
  return result.get();
}

// Tells the other ranks that this one lives, until it is destroyed.
class SignOfLife {
 public:
  SignOfLife(c10d::Store& store, const std::string& key, Milliseconds every)
      : thread_([this, &store, key, every] {
          std::unique_lock lock(mutex_);
          do {
            try {
              store.add(key, 1);
            } catch (const std::exception&) {
              return;  // the next collective says so
            }
          } while (!end_.wait_for(lock, every, [this] { return over_; }));
        }) {}
  SignOfLife(const SignOfLife&) = delete;
  SignOfLife& operator=(const SignOfLife&) = delete;
  ~SignOfLife() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    end_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable end_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace

struct Ranks::Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<Backend> backend;
  Milliseconds timeout{0};
  std::int64_t times_alone = 0;
  /// A collective that was begun: what it is, and its end.
  struct Begun {
    const char* what;
    c10::intrusive_ptr<c10d::Work> work;
  };
  std::vector<Begun> begun;     // not yet joined
  std::deque<Begun> on_device;  // joined there, not yet known to be done
  std::int64_t joined = 0;
  bool on_card = false;

  // Every collective ends here: done, or an Error that says what most likely happened.
  template <class Start>
  void finish(const char* what, Start&& start, bool host_waits = true) {
    try {
      auto work = start();
      host_waits ? work->wait(timeout) : work->wait();
    } catch (const std::exception& e) {
      throw silent(what, e);
    }
  }
  template <class Start>
  void begin(const char* what, Start&& start) {
    try {
      begun.push_back({what, start()});
    } catch (const std::exception& e) {
      throw silent(what, e);
    }
  }
  // NCCL's wait() without a limit makes the stream wait; with one it makes the host.
  void join() {
    for (Begun& each : begun) {
      finish(
          each.what, [&] { return each.work; }, /*host_waits=*/!on_card);
      ++joined;
      if (on_card) on_device.push_back(std::move(each));
    }
    begun.clear();
  }
  void settle(std::int64_t count) {
    const auto deadline = Clock::now() + timeout;
    while (!on_device.empty() && joined - std::ssize(on_device) < count) {
      const Begun& first = on_device.front();
      try {
        while (!first.work->isCompleted()) {
          if (Clock::now() > deadline)
            throw std::runtime_error("no answer within " + std::to_string(timeout.count() / 1000) +
                                     " s");
          std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
        if (const auto failed = first.work->exception()) std::rethrow_exception(failed);
      } catch (const std::exception& e) {
        throw silent(first.what, e);
      }
      on_device.pop_front();
    }
  }
  static Error silent(const char* what, const std::exception& e) {
    return {ErrorCode::failure, std::string("another rank failed or fell silent during ") + what +
                                    "; see its log. All ranks stop; resume with --resume. (" +
                                    first_line(e) + ")"};
  }
};

Ranks::Ranks(const RankEnvironment& environment, const torch::Device& device, double timeout_s)
    : environment_(environment), device_(device) {
  if (environment_.ranks == 1) return;
  group_ = std::make_unique<Group>();
  const Milliseconds timeout(static_cast<std::int64_t>(timeout_s * 1000));
  group_->timeout = timeout;
  group_->on_card = device.is_cuda();
  try {
    c10d::TCPStoreOptions options;
    options.port = environment_.port;
    options.isServer = environment_.rank == 0 && !environment_.agent_holds_store;
    options.numWorkers = static_cast<std::size_t>(environment_.ranks);
    options.timeout = timeout;
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
    options.useLibUV = false;  // the default since 2.4, and an error in a LibTorch built without it
#endif
    const auto meet = [master = environment_.master, options](const auto&) {
      return c10::make_intrusive<c10d::TCPStore>(master, options);
    };
    // The store's own limits come first, and with better words. An agent keeps its store when it
    // starts the ranks again.
    const auto store =
        c10::make_intrusive<c10d::PrefixStore>("wsp/" + std::to_string(environment_.attempt),
                                               unless_silent(timeout + Milliseconds(2000), meet));
    group_->store = store;
    if (device.is_cuda()) {
#ifdef WSP_HAS_NCCL
      auto nccl = c10d::ProcessGroupNCCL::Options::create();
      // NCCL's own watchdog ends the process without our words: it comes last.
      nccl->timeout = timeout + std::chrono::minutes(1);
      group_->backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, environment_.rank,
                                                                    environment_.ranks, nccl);
#else
      throw Error(ErrorCode::usage, "this build has no NCCL: several ranks need --device cpu");
#endif
    } else {
#ifdef WSP_HAS_GLOO
      auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
      gloo->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
      group_->backend = c10::make_intrusive<c10d::ProcessGroupGloo>(store, environment_.rank,
                                                                    environment_.ranks, gloo);
#else
      throw Error(ErrorCode::usage, "this build has no Gloo: several ranks need --device cuda");
#endif
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(
        ErrorCode::failure,
        "rank " + std::to_string(environment_.rank) + " cannot meet the others at " +
            environment_.master + ":" + std::to_string(environment_.port) +
            " (MASTER_ADDR, MASTER_PORT): " + first_line(e) +
            (environment_.agent_holds_store ? ". There torchrun holds the store, and it must be of "
                                              "a LibTorch that understands "
                                              "this one, " TORCH_VERSION ": see docs/CLUSTER.md"
                                            : ""));
  }
}

void Ranks::sum(torch::Tensor& tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{tensor};
  group_->finish("a sum", [&] { return group_->backend->allreduce(list); });
}

void Ranks::maximum(torch::Tensor& tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{tensor};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MAX;
  group_->finish("a maximum", [&] { return group_->backend->allreduce(list, options); });
}

void Ranks::begin_sum(torch::Tensor tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{std::move(tensor)};
  group_->begin("a sum", [&] { return group_->backend->allreduce(list); });
}

void Ranks::begin_maximum(torch::Tensor tensor) {
  if (!group_) return;
  std::vector<torch::Tensor> list{std::move(tensor)};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MAX;
  group_->begin("a maximum", [&] { return group_->backend->allreduce(list, options); });
}

void Ranks::join() {
  if (group_) group_->join();
}

std::int64_t Ranks::joined() const { return group_ ? group_->joined : 0; }

void Ranks::settle(std::int64_t count) {
  if (group_) group_->settle(count);
}

void Ranks::broadcast(torch::Tensor& tensor, int from) {
  if (!group_) return;
  std::vector<torch::Tensor> list{tensor};
  c10d::BroadcastOptions options;
  options.rootRank = from;
  group_->finish("a broadcast", [&] { return group_->backend->broadcast(list, options); });
}

void Ranks::first_alone(const std::function<void()>& work) {
  if (!group_) return work();
  const std::string alive = "alive", over = "alone/" + std::to_string(group_->times_alone++);
  const auto end = [&](std::optional<ErrorCode> code) {
    // 0 where all went well, else 1 + the code of the error.
    const int said = code ? 1 + static_cast<int>(*code) : 0;
    try {
      group_->store->set(over, std::vector<std::uint8_t>{static_cast<std::uint8_t>(said)});
    } catch (const std::exception&) {
      // Where the store is gone the others know it too, and the next collective says it.
    }
  };
  if (first()) {
    try {
      const SignOfLife sign(*group_->store, alive,
                            std::min(Milliseconds(5000), group_->timeout / 4));
      work();
    } catch (const Error& e) {
      end(e.code());
      throw;
    } catch (const std::exception&) {
      end(ErrorCode::failure);
      throw;
    }
    return end(std::nullopt);
  }
  int said = 0;
  try {
    const auto wait = [store = group_->store, alive, over](const auto& heard) {
      std::int64_t seen = -1;
      for (Milliseconds pause(2); !store->check({over});
           pause = std::min(2 * pause, Milliseconds(250))) {
        if (const std::int64_t signs = store->add(alive, 0); signs != seen) {
          seen = signs;
          heard();
        }
        std::this_thread::sleep_for(pause);
      }
      return static_cast<int>(store->get(over).at(0));
    };
    said = unless_silent(group_->timeout, wait);
  } catch (const std::exception& e) {
    throw Group::silent("the work of rank 0", e);
  }
  if (said == 0) return;
  const auto code = static_cast<ErrorCode>(said - 1);
  if (code == ErrorCode::interrupted) note_interrupt(SIGTERM);
  throw Error(code, "rank 0 stopped; see its log");
}

void Ranks::barrier() {
  if (!group_) return;
  torch::Tensor one = torch::zeros({1}, device_);
  sum(one);
}

torch::Tensor Ranks::gather_views(const torch::Tensor& local) {
  if (!group_) return local;
  std::vector<torch::Tensor> mine{local.contiguous()};
  std::vector<std::vector<torch::Tensor>> all(1);
  for (int r = 0; r < environment_.ranks; ++r) all[0].push_back(torch::empty_like(mine[0]));
  group_->begin("a gathering of embeddings", [&] { return group_->backend->allgather(all, mine); });
  group_->join();
  std::vector<torch::Tensor> parts;
  for (const std::int64_t view : {0, 1})
    for (const torch::Tensor& part : all[0])
      parts.push_back(part.chunk(2, 0)[static_cast<std::size_t>(view)]);
  return torch::cat(parts, 0);
}

#else

struct Ranks::Group {};

Ranks::Ranks(const RankEnvironment& environment, const torch::Device& device, double)
    : environment_(environment), device_(device) {
  if (environment_.ranks > 1)
    throw Error(ErrorCode::usage,
                "this build has neither Gloo nor NCCL: install libgloo-dev and build again, or run "
                "one process");
}
void Ranks::sum(torch::Tensor&) {}
void Ranks::maximum(torch::Tensor&) {}
void Ranks::begin_sum(torch::Tensor) {}
void Ranks::begin_maximum(torch::Tensor) {}
void Ranks::join() {}
std::int64_t Ranks::joined() const { return 0; }
void Ranks::settle(std::int64_t) {}
void Ranks::broadcast(torch::Tensor&, int) {}
void Ranks::first_alone(const std::function<void()>& work) { work(); }
void Ranks::barrier() {}
torch::Tensor Ranks::gather_views(const torch::Tensor& local) { return local; }

#endif

Ranks::~Ranks() = default;

torch::Tensor Ranks::own_views(const torch::Tensor& global) const {
  if (!group_) return global;
  const std::int64_t n = global.size(0) / 2, m = n / environment_.ranks;
  const std::int64_t at = environment_.rank * m;
  return torch::cat({global.narrow(0, at, m), global.narrow(0, n + at, m)}, 0);
}

}  // namespace wsp::train
