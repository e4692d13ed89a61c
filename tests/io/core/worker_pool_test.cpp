#include "io/core/worker_pool.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "io/core/cage.hpp"
#include "io/core/error.hpp"

namespace wsp {
namespace sample {

struct Inner {
  std::int32_t number = 0;
  std::vector<std::string> words;
  bool yes = false;
};
WSP_FIELDS(Inner, number, words, yes)

struct Outer {
  std::array<double, 3> place{};
  std::optional<Inner> maybe;
  std::vector<Inner> many;
  std::shared_ptr<const Inner> shared;
  Code code = Code::USED;
  std::filesystem::path path;
  std::vector<std::int16_t> values;
};
WSP_FIELDS(Outer, place, maybe, many, shared, code, path, values)

Outer example() {
  Outer outer;
  outer.place = {1, 2.5, -3};
  outer.maybe = Inner{7, {"a", ""}, true};
  outer.many = {{1, {}, false}, {2, {std::string("b\0c", 3)}, true}};
  outer.shared = std::make_shared<const Inner>(Inner{9, {"d"}, false});
  outer.code = Code::TRUNCATED_FILE;
  outer.path = "x/y";
  outer.values = {-1, 2, 3};
  return outer;
}

struct Both {
  SharedSpan<char> bytes;
  std::vector<std::int32_t> numbers;
};
WSP_FIELDS(Both, bytes, numbers)

std::string bytes_of(const Outer& outer) {
  wire::Writer writer;
  writer.put(outer);
  return writer.bytes();
}

}  // namespace sample

namespace {

constexpr std::uint64_t kMemory = std::uint64_t{512} << 20;

const auto nothing_more = [] { return 0.0; };

TEST(Wire, GivesBackWhatWasPut) {
  const std::string bytes = sample::bytes_of(sample::example());
  wire::Reader reader(bytes);
  const auto read = reader.get<sample::Outer>();
  reader.finish();
  EXPECT_EQ(sample::bytes_of(read), bytes);
  EXPECT_EQ(read.many[1].words[0], std::string("b\0c", 3));
  EXPECT_EQ(read.shared->number, 9);
  EXPECT_EQ(read.code, Code::TRUNCATED_FILE);
  wire::Writer writer;
  writer.put(Outcome<int>(Rejection{"", "scan", Code::BAD_HEADER, "why"}));
  wire::Reader again(writer.bytes());
  EXPECT_EQ(again.get<Outcome<int>>().rejection().detail, "why");
}

TEST(Wire, RefusesWhatWasNeverWritten) {
  const std::string bytes = sample::bytes_of(sample::example());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    wire::Reader cut(std::span<const char>(bytes).first(n));
    EXPECT_THROW((void)cut.get<sample::Outer>(), wire::Malformed) << n;
  }
  std::mt19937 random(1);
  std::size_t refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string changed = bytes;
    for (int k = 0; k < 3; ++k) changed[random() % changed.size()] = static_cast<char>(random());
    try {
      wire::Reader reader(changed);
      (void)reader.get<sample::Outer>();
    } catch (const wire::Malformed&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000U);
  wire::Writer writer;  // numbers said to lie in memory that is not there
  writer.put(std::size_t{4});
  writer.put(true);
  writer.put(std::uint64_t{64});
  wire::Reader reader(writer.bytes());
  EXPECT_THROW((void)reader.get<std::vector<std::int16_t>>(), wire::Malformed);
}

/// What `body` returns in a child process; -1 where it does not end by itself.
template <class Body>
int in_child(const Body& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Cage, TakesEverythingButReading) {
  const pid_t self = ::getpid();
  EXPECT_EQ(in_child([&] { return enter_cage(4).empty() && !enter_cage(4).empty() ? 0 : 1; }), 0)
      << "a caged process can change its cage";
  EXPECT_EQ(in_child([&]() -> int {
              if (!enter_cage(4).empty()) return 1;
              const auto refused = [](auto result) {
                return static_cast<long>(result) == -1 && errno == EPERM;
              };
              char name[] = "/bin/true";
              char* const arguments[] = {name, nullptr};
              char* const environment[] = {nullptr};
              if (!refused(::socket(AF_INET, SOCK_STREAM, 0))) return 2;
              if (!refused(::socket(AF_UNIX, SOCK_STREAM, 0))) return 3;
              if (!refused(::execve(name, arguments, environment))) return 4;
              if (!refused(::fork())) return 5;
              if (!refused(::kill(self, 0))) return 6;
              if (!refused(::ptrace(PTRACE_ATTACH, self, nullptr, nullptr))) return 7;
              if (!refused(::open("/tmp/wsp-cage", O_WRONLY | O_CREAT, 0600))) return 8;
              if (!refused(::open("/dev/null", O_RDWR))) return 9;
              if (!refused(::unlink("/tmp/wsp-cage"))) return 10;
              if (!refused(::write(1, "", 0))) return 11;
              if (!refused(::memfd_create("x", 0))) return 12;
              if (!refused(::ftruncate(1, 0))) return 13;
              if (!refused(reinterpret_cast<long>(::mmap(nullptr, 4096, PROT_READ | PROT_EXEC,
                                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))))
                return 14;
              const int fd = ::open("/proc/self/exe", O_RDONLY);
              char magic[4] = {};
              if (fd < 0 || ::read(fd, magic, 4) != 4 || magic[1] != 'E') return 15;
              return std::vector<char>(1 << 26, 1).back() == 1 ? 0 : 16;
            }),
            0);
}

void add(wire::Reader& given, wire::Writer& reply) {
  const auto a = given.get<std::int64_t>();
  reply.put(a + given.get<std::int64_t>());
}

std::int64_t sum_by(WorkerPool& pool, std::int64_t a, std::int64_t b) {
  wire::Writer request;
  request.put(a);
  request.put(b);
  return pool.call(add, request.bytes(), nothing_more).get<std::int64_t>();
}

void tell_pid(wire::Reader&, wire::Writer& reply) { reply.put(std::int32_t{::getpid()}); }

int g_harm = 0;

TEST(WorkerPool, SurvivesWhatItsWorkersDo) {
  WorkerPool pool({kMemory, 1});
  EXPECT_EQ(worker_pool(), &pool);
  const auto lost = [&](WorkerTask task) {
    try {
      (void)pool.call(task, "", nothing_more).get<std::int64_t>();
    } catch (const WorkerLost& e) {
      EXPECT_EQ(sum_by(pool, 2, 3), 5);
      return std::string(e.timed_out() ? "timed out" : "crashed");
    }
    return std::string("answered");
  };
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer&) { std::raise(SIGSEGV); }), "crashed");
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer&) { std::abort(); }), "crashed");
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer&) { ::_exit(0); }), "crashed");
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer&) {
              while (std::clock() >= 0) {
              }
            }),
            "timed out");
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer& reply) { reply.put(true); }), "crashed");
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer& reply) {
              reply.put(std::int64_t{1});
              reply.put(std::int64_t{2});
            }),
            "crashed");
  EXPECT_EQ(lost([](wire::Reader&, wire::Writer& reply) { reply.put(std::int64_t{1}); }),
            "answered");
  EXPECT_THROW((void)pool.call([](wire::Reader&, wire::Writer&) { throw std::logic_error("so"); },
                               "", nothing_more),
               std::runtime_error);
  try {
    (void)pool.call([](wire::Reader&, wire::Writer&) { throw Error(ErrorCode::no_input, "none"); },
                    "", nothing_more);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::no_input);
    EXPECT_STREQ(e.what(), "none");
  }
}

TEST(WorkerPool, GivesNoMoreMemoryThanItsLimit) {
  WorkerPool pool({kMemory, 10});
  const auto allocate = [](wire::Reader& given, wire::Writer& reply) {
    const std::vector<char> much(given.get<std::size_t>(), 1);
    reply.put(static_cast<std::int64_t>(much.back()));
  };
  const auto ask = [&](std::size_t bytes) {
    wire::Writer request;
    request.put(bytes);
    return pool.call(allocate, request.bytes(), nothing_more).get<std::int64_t>();
  };
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_THROW((void)ask(2 * kMemory), std::bad_alloc);
#endif
  EXPECT_THROW((void)ask(std::size_t{1} << 62), std::bad_alloc);
  EXPECT_EQ(ask(kMemory / 4), 1);
}

TEST(WorkerPool, MakesNoFilePayForAnother) {
  WorkerPool pool({kMemory, 5});
  const auto harm = [](wire::Reader&, wire::Writer& reply) {
    g_harm = 1;
    reply.put(std::int64_t{1});
  };
  const auto suffer = [](wire::Reader&, wire::Writer& reply) {
    if (g_harm == 1) std::abort();
    reply.put(std::int64_t{2});
  };
  EXPECT_EQ(pool.call(harm, "", nothing_more).get<std::int64_t>(), 1);
  EXPECT_EQ(pool.call(suffer, "", nothing_more).get<std::int64_t>(), 2);
}

TEST(WorkerPool, AsksForMoreTimeOnce) {
  WorkerPool pool({kMemory, 0.2});
  const auto work = [](wire::Reader&, wire::Writer& reply) {
    while (std::clock() < CLOCKS_PER_SEC) {
    }
    reply.put(std::int64_t{1});
  };
  int asked = 0;
  const auto more = [&] {
    ++asked;
    return 60.0;
  };
  EXPECT_EQ(pool.call(work, "", more).get<std::int64_t>(), 1);
  EXPECT_EQ(asked, 1);
  EXPECT_THROW((void)pool.call(
                   [](wire::Reader&, wire::Writer&) {
                     ::pause();
                     ::sleep(100);
                   },
                   "", nothing_more),
               WorkerLost);
}

TEST(WorkerPool, HandsOverLargeResultsAndTakesTheirMemoryBack) {
  WorkerPool pool({kMemory, 30});
  const auto make = [](wire::Reader& given, wire::Writer& reply) {
    const auto n = given.get<std::size_t>();
    const auto buffer = allocate_bytes(n);
    for (std::size_t i = 0; i < n; ++i) buffer.get()[i] = static_cast<char>(i % 251);
    reply.put(SharedSpan<char>{{buffer.get(), n}, buffer});
    reply.put_numbers(std::span<const std::int32_t>(std::vector<std::int32_t>(n / 8, 3)));
  };
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{5}, std::size_t{100'000'000}, std::size_t{70'000}}) {
    wire::Writer request;
    request.put(n);
    const auto reply = pool.call(make, request.bytes(), nothing_more);
    const auto read = reply.get<sample::Both>();
    ASSERT_EQ(read.bytes.view.size(), n);
    bool same = true;
    for (std::size_t i = 0; i < n; ++i)
      same = same && read.bytes.view[i] == static_cast<char>(i % 251);
    EXPECT_TRUE(same) << n;
    EXPECT_EQ(read.numbers, std::vector<std::int32_t>(n / 8, 3));
  }
}

TEST(WorkerPool, ServesManyThreads) {
  WorkerPool pool({kMemory, 30});
  std::atomic<int> wrong = 0, lost = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 200; ++i) {
        if (sum_by(pool, t, i) != t + i) ++wrong;
        if (i % 50 != 7) continue;
        try {
          (void)pool.call([](wire::Reader&, wire::Writer&) { std::abort(); }, "", nothing_more);
        } catch (const WorkerLost&) {
          ++lost;
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(lost, 6 * 4);
}

TEST(WorkerPool, DiesWithItsProcess) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // its workers come to this process
  const pid_t pid = ::fork();
  if (pid == 0) {
    WorkerPool pool({kMemory, 30});
    const auto worker = pool.call(tell_pid, "", nothing_more).get<std::int32_t>();
    if (::write(ends[1], &worker, sizeof worker) != sizeof worker) ::_exit(1);
    ::pause();
  }
  std::int32_t worker = 0;
  ASSERT_EQ(::read(ends[0], &worker, sizeof worker), static_cast<ssize_t>(sizeof worker));
  EXPECT_EQ(::kill(worker, 0), 0);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  // By the forker, whose end of a socket is closed, or by its parent's death: then this process
  // inherits it.
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i) {
    gone = ::waitpid(worker, nullptr, WNOHANG) == worker || ::kill(worker, 0) != 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(gone);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(WorkerPool, EndsItsWorkersWithItself) {
  std::int32_t worker = 0;
  {
    WorkerPool pool({kMemory, 30});
    worker = pool.call(tell_pid, "", nothing_more).get<std::int32_t>();
  }
  EXPECT_EQ(worker_pool(), nullptr);
  EXPECT_EQ(::kill(worker, 0), -1);
}

}  // namespace
}  // namespace wsp
