#include "io/core/worker_pool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <initializer_list>
#include <new>
#include <utility>

#include "io/core/error.hpp"
#include "io/core/worker_process.hpp"

namespace wsp {
namespace {

using worker::Answer;
using worker::Status;

WorkerPool* g_pool = nullptr;

/// What a worker keeps of its memory file between requests.
constexpr std::size_t kKept = std::size_t{64} << 20;

Error cannot(const char* what) {
  return {ErrorCode::failure, std::string("no process could be started to read files in (") + what +
                                  ": " + std::strerror(errno) +
                                  "); --isolation off reads them in this one"};
}

void close_all(std::initializer_list<int> descriptors) {
  for (const int fd : descriptors)
    if (fd >= 0) ::close(fd);
}

}  // namespace

/// One worker as this process sees it.
class WorkerPool::Worker {
 public:
  Worker(int pid, int channel, int memory) : pid_(pid), channel_(channel), memory_(memory) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    if (mapped_ != nullptr) ::munmap(mapped_, size_);
    close_all({channel_, memory_});
  }

  [[nodiscard]] int pid() const { return pid_; }
  bool served = false;  ///< it has had a request before
  bool lost = false;    ///< it is not to be asked again
  bool buried = false;  ///< its number may be another process's by now

  /// Write the arguments and send the request; false where nobody is there.
  bool ask(WorkerTask task, const std::string& arguments) {
    if (!map(arguments.size())) throw std::bad_alloc();
    if (!arguments.empty()) std::memcpy(mapped_, arguments.data(), arguments.size());
    cpu_before_ = cpu_seconds();
    const worker::Request request{task, arguments.size()};
    return ::send(channel_, &request, sizeof request, MSG_NOSIGNAL) == sizeof request;
  }

  enum class Wait { answered, gone, timed_out };
  /// Wait for an answer as long as the limits let it. Time in which it has no processor, or in
  /// which this process is stopped too, does not count.
  Wait wait(Answer& answer, double most_seconds, const std::function<double()>& more_seconds) {
    constexpr int kLookMs = 500;
    constexpr double kMostAsleep = 10;
    double asleep = 0;
    bool asked = false;
    for (;;) {
      pollfd one{channel_, POLLIN, 0};
      const int ready = ::poll(&one, 1, kLookMs);
      if (ready > 0) {
        const ssize_t n = ::recv(channel_, &answer, sizeof answer, 0);
        return n == sizeof answer ? Wait::answered : Wait::gone;
      }
      if (ready < 0 && errno != EINTR) return Wait::gone;
      // In a read that the system has not answered it does not sleep, but waits for the disk.
      if (ready == 0 && state() == 'S') asleep += kLookMs / 1000.0;
      const auto too_long = [&] {
        return cpu_seconds() - cpu_before_ > most_seconds || asleep > kMostAsleep * most_seconds;
      };
      if (!too_long()) continue;
      if (!asked && more_seconds) most_seconds += more_seconds();
      asked = true;
      if (too_long()) return Wait::timed_out;
    }
  }

  /// The reply that an answer points to; false where it does not lie in the memory file.
  bool fetch(const Answer& answer, Reply& reply) {
    struct stat status {};
    if (::fstat(memory_, &status) != 0) return false;
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (answer.offset > size || answer.bytes > size - answer.offset || !map(size)) return false;
    reply.bytes_.assign(mapped_ + answer.offset, answer.bytes);
    reply.shared_ = {mapped_, size_};
    return true;
  }

  /// Give memory back that a large file took.
  void shrink() const {
    if (size_ > kKept)
      ::fallocate(memory_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kKept,
                  static_cast<off_t>(size_ - kKept));
  }

 private:
  bool map(std::size_t size) {
    if (size <= size_) return true;
    struct stat status {};
    if (::fstat(memory_, &status) != 0) return false;
    constexpr std::size_t kLeast = std::size_t{1} << 20;
    const std::size_t wanted = std::max({size, kLeast, static_cast<std::size_t>(status.st_size)});
    if (static_cast<std::size_t>(status.st_size) < wanted &&
        ::ftruncate(memory_, static_cast<off_t>(wanted)) != 0)
      return false;
    void* at = ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_SHARED, memory_, 0);
    if (at == MAP_FAILED) return false;
    if (mapped_ != nullptr) ::munmap(mapped_, size_);
    mapped_ = static_cast<char*>(at);
    size_ = wanted;
    return true;
  }

  [[nodiscard]] double cpu_seconds() const {
    clockid_t clock{};
    timespec time{};
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  /// As the system says it: R, S, D, ...; blank where there is none.
  [[nodiscard]] char state() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string text;
    std::getline(file, text);
    const auto at = text.rfind(") ");  // the name before may hold anything
    return at != std::string::npos && at + 2 < text.size() ? text[at + 2] : ' ';
  }

  int pid_, channel_, memory_;
  char* mapped_ = nullptr;
  std::size_t size_ = 0;
  double cpu_before_ = 0;
};

void WorkerPool::Reply::give_up() const { worker_->lost = true; }

WorkerPool::WorkerPool(const WorkerLimits& limits, void (*prepare)()) : limits_(limits) {
  if (g_pool != nullptr) throw Error(ErrorCode::failure, "two pools of workers in one process");
  rlimit files{};  // what they give back lies in files of memory
  ::getrlimit(RLIMIT_FSIZE, &files);
  constexpr std::uint64_t kLeast = std::uint64_t{256} << 20;
  limits_.memory_bytes = std::min<std::uint64_t>(limits.memory_bytes, files.rlim_cur);
  if (limits_.memory_bytes < kLeast)
    throw Error(ErrorCode::output,
                "cannot write files of 256 MiB here (ulimit -f), as the processes that read files "
                "need them in memory; --isolation off reads in this one");
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw cannot("socketpair");
  const int self = ::getpid();
  forker_ = ::fork();
  if (forker_ == 0) {
    ::close(ends[0]);
    worker::run_forker(ends[1], self, limits_, prepare);
  }
  ::close(ends[1]);
  control_ = ends[0];
  if (forker_ < 0) {
    ::close(control_);
    throw cannot("fork");
  }
  try {
    idle_.push_back(start_worker());  // whether it can be done is told before anything is read
  } catch (...) {
    kill();
    throw;
  }
  g_pool = this;
}

WorkerPool::~WorkerPool() {
  g_pool = nullptr;
  idle_.clear();
  if (control_ >= 0) ::close(control_);
  control_ = -1;
  if (forker_ > 0)
    while (::waitpid(forker_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

void WorkerPool::kill() {
  const std::lock_guard lock(control_mutex_);
  if (forker_ <= 0) return;
  ::kill(forker_, SIGKILL);
  while (::waitpid(forker_, nullptr, 0) < 0 && errno == EINTR) {
  }
  forker_ = -1;
  ::close(control_);
  control_ = -1;
}

namespace {

/// What the forker answers to a command.
std::int32_t command(int control, const worker::Command& what,
                     std::initializer_list<int> descriptors) {
  worker::Command copy = what;
  iovec piece{&copy, sizeof copy};
  alignas(cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (descriptors.size() > 0) {
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), descriptors.begin(), descriptors.size() * sizeof(int));
  }
  std::int32_t answer = 0;
  ssize_t n = ::sendmsg(control, &message, MSG_NOSIGNAL);
  if (n == sizeof copy) do
      n = ::recv(control, &answer, sizeof answer, 0);
    while (n < 0 && errno == EINTR);
  if (n != sizeof answer)
    throw Error(ErrorCode::failure,
                "the process that starts the readers of files is gone; run the same command again");
  return answer;
}

}  // namespace

std::unique_ptr<WorkerPool::Worker> WorkerPool::start_worker() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw cannot("socketpair");
  const int memory = ::memfd_create("wsp-reader", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory < 0 || ::fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    const Error error = cannot("memfd_create");
    close_all({ends[0], ends[1], memory});
    throw error;
  }
  std::int32_t pid = 0;
  {
    const std::lock_guard lock(control_mutex_);
    pid = command(control_, {worker::Order::start, 0}, {ends[1], memory});
  }
  ::close(ends[1]);
  auto worker = std::make_unique<Worker>(pid, ends[0], memory);
  errno = -pid;
  if (pid <= 0) throw cannot("fork");
  char first[sizeof(Answer) + 256];
  ssize_t n = 0;
  do n = ::recv(ends[0], first, sizeof first, 0);
  while (n < 0 && errno == EINTR);
  if (n == sizeof(Answer)) return worker;
  bury(*worker);
  constexpr ssize_t kAnswer = sizeof(Answer);
  throw Error(ErrorCode::failure,
              "no process could be started to read files in (" +
                  (n > kAnswer ? std::string(first + kAnswer, first + n) : "it ended at once") +
                  "); --isolation off reads them in this one");
}

int WorkerPool::bury(Worker& worker) {
  if (std::exchange(worker.buried, true)) return 0;
  const std::lock_guard lock(control_mutex_);
  return command(control_, {worker::Order::end, worker.pid()}, {});
}

std::shared_ptr<WorkerPool::Worker> WorkerPool::check_out(bool fresh) {
  std::unique_ptr<Worker> worker;
  if (!fresh) {
    const std::lock_guard lock(idle_mutex_);
    if (!idle_.empty()) {
      worker = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!worker) worker = start_worker();
  return {worker.release(), [this](Worker* back) {
            std::unique_ptr<Worker> owned(back);
            if (!back->lost) {
              back->shrink();
              const std::lock_guard lock(idle_mutex_);
              idle_.push_back(std::move(owned));
              return;
            }
            try {
              bury(*back);
            } catch (const Error&) {  // its forker is gone, and so is it
            }
          }};
}

WorkerPool::Reply WorkerPool::call(WorkerTask task, const std::string& request,
                                   const std::function<double()>& more_seconds) {
  for (bool again = false;; again = true) {
    Reply reply;
    reply.worker_ = check_out(again);
    Worker& worker = *reply.worker_;
    const bool served = std::exchange(worker.served, true);
    Answer answer;
    auto end = Worker::Wait::gone;
    if (worker.ask(task, request)) end = worker.wait(answer, limits_.cpu_seconds, more_seconds);
    if (end == Worker::Wait::answered && worker.fetch(answer, reply)) {
      if (answer.status == Status::done) return reply;
      worker.lost = true;  // what a failed task leaves behind is nobody's
      if (answer.status == Status::no_memory) throw std::bad_alloc();
      reply.shared_ = {};
      const auto [code, what] = [&]() -> std::pair<std::int32_t, std::string> {
        try {
          wire::Reader words(reply.bytes_);
          const auto number = words.get<std::int32_t>();
          return {number, words.get<std::string>()};
        } catch (const wire::Malformed& e) {
          throw WorkerLost(false, e.what());
        }
      }();
      if (answer.status == Status::error)
        throw Error(code >= 0 && code <= static_cast<std::int32_t>(ErrorCode::interrupted)
                        ? static_cast<ErrorCode>(code)
                        : ErrorCode::failure,
                    what);
      throw std::runtime_error(what);
    }
    worker.lost = true;
    const bool timed_out = end == Worker::Wait::timed_out;
    const int status = bury(worker);
    const bool killed = !timed_out && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!again && (served || killed)) continue;
    if (timed_out) throw WorkerLost(true, "reading it was given up: it took too long");
    throw WorkerLost(
        false, WIFSIGNALED(status)
                   ? "the process that read it ended by signal " + std::to_string(WTERMSIG(status))
                   : "the process that read it ended or answered nonsense");
  }
}

WorkerPool* worker_pool() { return g_pool; }

}  // namespace wsp
