#include "io/core/worker_process.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <new>
#include <set>

#include "io/core/cage.hpp"
#include "io/core/error.hpp"

namespace wsp::worker {
namespace {

constexpr int kChannel = 3, kMemory = 4;

/// The memory file as it lies in the worker: mapped once, as far as it may grow.
class MappedArena final : public BytesArena {
 public:
  MappedArena(char* begin, std::size_t most) : begin_(begin), most_(most) {}
  void reset() { used_ = 0; }
  [[nodiscard]] std::span<const char> first(std::size_t n) {
    grow(n);
    return {begin_, n};
  }

  std::byte* allocate(std::size_t n) override {
    constexpr std::size_t kAlign = 64;
    const std::size_t at = (used_ + kAlign - 1) / kAlign * kAlign;
    if (n > most_ || at > most_ - n) throw std::bad_alloc();
    grow(at + n);
    used_ = at + n;
    return reinterpret_cast<std::byte*>(begin_ + at);
  }
  std::uint64_t offset_of(std::span<const std::byte> bytes) override {
    const auto* from = reinterpret_cast<const char*>(bytes.data());
    if (from >= begin_ && from < begin_ + used_) return static_cast<std::uint64_t>(from - begin_);
    std::byte* copy = allocate(bytes.size());
    std::memcpy(copy, bytes.data(), bytes.size());
    return static_cast<std::uint64_t>(reinterpret_cast<char*>(copy) - begin_);
  }

 private:
  void grow(std::size_t size) {
    if (size <= size_) return;
    struct stat status {};
    if (::fstat(kMemory, &status) != 0) throw std::bad_alloc();
    size_ = static_cast<std::size_t>(status.st_size);  // whoever asked may have made it longer
    if (size <= size_) return;
    constexpr std::size_t kStep = std::size_t{1} << 20;
    const std::size_t wanted = std::min(most_, (size + kStep - 1) / kStep * kStep);
    if (::ftruncate(kMemory, static_cast<off_t>(wanted)) != 0) throw std::bad_alloc();
    size_ = wanted;
  }

  char* begin_;
  std::size_t most_, used_ = 0, size_ = 0;
};

/// 0, 1 and 2 lead nowhere: a worker says nothing but its answers.
void silence() {
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) ::dup2(null, fd);
  if (null > 2) ::close(null);
}

void ignore_signals() {
  // Sent to the whole job: it is the first process that decides what ends.
  for (const int number :
       {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ, SIGPIPE})
    std::signal(number, SIG_IGN);
}

void limit(decltype(RLIMIT_AS) what, std::uint64_t most) {
  rlimit now{};
  ::getrlimit(what, &now);
  now.rlim_cur = now.rlim_max = std::min<rlim_t>(now.rlim_max, most);
  ::setrlimit(what, &now);
}

std::uint64_t address_space() {
  std::uint64_t pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r"); file != nullptr) {
    if (std::fscanf(file, "%lu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Where the machine's memory ends, workers end first.
void be_the_first_victim() {
  ::prctl(PR_SET_DUMPABLE, 1);  // else its files in /proc are root's
  if (const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); fd >= 0) {
    static_cast<void>(::write(fd, "1000", 4));
    ::close(fd);
  }
  ::prctl(PR_SET_DUMPABLE, 0);
}

void say(const Answer& answer) {
  if (::send(kChannel, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) ::_exit(0);
}

Answer answer_in(MappedArena& arena, Status status, const std::string& bytes) {
  const auto offset = arena.offset_of(std::as_bytes(std::span(bytes)));
  return {status, offset, bytes.size()};
}

Answer run(const Request& request, MappedArena& arena) {
  wire::Writer reply(&arena);
  const auto failed = [&](Status status, ErrorCode code, const char* what) {
    arena.reset();
    wire::Writer words;
    words.put(static_cast<std::int32_t>(code));
    words.put(std::string(what));
    return answer_in(arena, status, words.bytes());
  };
  try {
    const auto given = arena.first(request.bytes);
    const std::string bytes(given.data(), given.size());
    arena.reset();
    wire::Reader arguments(bytes);
    request.task(arguments, reply);
    return answer_in(arena, Status::done, reply.bytes());
  } catch (const Error& e) {
    return failed(Status::error, e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return {Status::no_memory, 0, 0};
  } catch (const std::length_error&) {
    return {Status::no_memory, 0, 0};
  } catch (const std::exception& e) {
    return failed(Status::exception, ErrorCode::failure, e.what());
  }
}

[[noreturn]] void run_worker(int channel, int memory, int forker, const WorkerLimits& limits) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != forker) ::_exit(0);
  ::prctl(PR_SET_NAME, "wsp-reader");
  // Out of the way first: they may be 3 and 4 already, the other way round.
  channel = ::fcntl(channel, F_DUPFD, 10);
  memory = ::fcntl(memory, F_DUPFD, 10);
  ::dup2(channel, kChannel);
  ::dup2(memory, kMemory);
  ::syscall(SYS_close_range, kMemory + 1, ~0U, 0);
  be_the_first_victim();
  constexpr int kHeapKept = 64 << 20;
  ::mallopt(M_TRIM_THRESHOLD, kHeapKept);
  std::size_t reserve = limits.memory_bytes;
  void* mapped = MAP_FAILED;
  for (; mapped == MAP_FAILED && reserve >= (std::size_t{1} << 24); reserve /= 2) {
    mapped =
        ::mmap(nullptr, reserve, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, kMemory, 0);
    if (mapped != MAP_FAILED) break;
  }
  std::string refused = mapped == MAP_FAILED ? std::string("mmap: ") + std::strerror(errno) : "";
  limit(RLIMIT_FSIZE, reserve);
  limit(RLIMIT_AS, address_space() + limits.memory_bytes);
  if (refused.empty()) refused = enter_cage(kMemory);
  MappedArena arena(static_cast<char*>(mapped), reserve);
  bytes_arena() = &arena;
  // Its first word is whether it lives: an answer, and behind it what was refused.
  if (!refused.empty()) {
    refused.insert(0, sizeof(Answer), ' ');
    ::send(kChannel, refused.data(), refused.size(), MSG_NOSIGNAL);
    ::_exit(1);
  }
  say({});
  for (Request request; ::recv(kChannel, &request, sizeof request, 0) == sizeof request;)
    say(run(request, arena));
  ::_exit(0);
}

/// A command with its descriptors; false when there will be no more.
bool receive(int control, Command& command, int (&descriptors)[2]) {
  iovec piece{&command, sizeof command};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof descriptors)];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  ssize_t n = 0;
  do n = ::recvmsg(control, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n != sizeof command) return false;
  if (command.order != Order::start) return true;
  const cmsghdr* rights = CMSG_FIRSTHDR(&message);
  if (rights == nullptr || rights->cmsg_len != CMSG_LEN(sizeof descriptors)) return false;
  std::memcpy(descriptors, CMSG_DATA(rights), sizeof descriptors);
  return true;
}

int end_child(pid_t pid) {
  ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

void run_forker(int control, int parent, const WorkerLimits& limits, void (*prepare)()) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  ::prctl(PR_SET_NAME, "wsp-forker");
  ignore_signals();
  silence();
  limit(RLIMIT_CORE, 0);
  if (prepare != nullptr) prepare();
  const pid_t self = ::getpid();
  std::set<pid_t> alive;
  Command command;
  for (int descriptors[2]; receive(control, command, descriptors);) {
    std::int32_t answer = 0;
    if (command.order == Order::start) {
      const pid_t pid = ::fork();
      if (pid == 0) run_worker(descriptors[0], descriptors[1], self, limits);
      for (const int fd : descriptors) ::close(fd);
      if (pid > 0) alive.insert(pid);
      answer = pid > 0 ? pid : -errno;
    } else if (alive.erase(command.pid) > 0) {
      answer = end_child(command.pid);
    }
    if (::send(control, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) break;
  }
  for (const pid_t pid : alive) end_child(pid);
  ::_exit(0);
}

}  // namespace wsp::worker
