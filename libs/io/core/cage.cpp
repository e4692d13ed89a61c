#include "io/core/cage.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace wsp {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_RISCV64;
#else
#error "name this architecture's AUDIT_ARCH"
#endif

constexpr long kAllowed[] = {
    SYS_read,         SYS_pread64,
    SYS_readv,        SYS_lseek,
    SYS_close,        SYS_fstat,
    SYS_newfstatat,   SYS_statx,
    SYS_readlinkat,   SYS_faccessat,
    SYS_getdents64,   SYS_fadvise64,
    SYS_getcwd,       SYS_sendto,
    SYS_recvfrom,     SYS_munmap,
    SYS_mremap,       SYS_madvise,
    SYS_brk,          SYS_futex,
    SYS_sched_yield,  SYS_sched_getaffinity,
    SYS_getpid,       SYS_gettid,
    SYS_uname,        SYS_sysinfo,
    SYS_getrandom,    SYS_clock_gettime,
    SYS_clock_getres, SYS_gettimeofday,
    SYS_nanosleep,    SYS_clock_nanosleep,
    SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_restart_syscall,
    SYS_exit,         SYS_exit_group,
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_stat
    SYS_stat,         SYS_lstat,
#endif
#ifdef SYS_access
    SYS_access,       SYS_readlink,
    SYS_time,
#endif
#ifdef __SANITIZE_ADDRESS__
    SYS_sigaltstack,  // asked for with everything that is thrown
#endif
};

/// A filter for this machine's system calls: what is not allowed fails with EPERM.
class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    unless_equal(kArchitecture);
    refuse();
    load(offsetof(seccomp_data, nr));
  }
  void allow(long call) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  /// Where the lower half of an argument, these bits of it, is the value.
  void allow_where(long call, int argument, std::uint32_t bits, std::uint32_t value) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 5);
    load(static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                    sizeof(std::uint64_t) * static_cast<std::size_t>(argument)));
    add(BPF_ALU | BPF_AND | BPF_K, bits);
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    load(offsetof(seccomp_data, nr));
  }
  bool install() {
    refuse();
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  }

 private:
  void add(int code, std::uint32_t k, int if_true = 0, int if_false = 0) {
    code_.push_back({static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(if_true),
                     static_cast<std::uint8_t>(if_false), k});
  }
  void load(std::uint32_t at) { add(BPF_LD | BPF_W | BPF_ABS, at); }
  void unless_equal(std::uint32_t value) { add(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0); }
  void refuse() { add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM); }

  std::vector<sock_filter> code_;
};

constexpr std::uint32_t kAllBits = 0xFFFFFFFF;

bool filter_calls(int memory) {
  Filter filter;
  for (const long call : kAllowed) filter.allow(call);
  constexpr std::uint32_t kWrites = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
  filter.allow_where(SYS_openat, 2, kWrites, O_RDONLY);
#ifdef SYS_open
  filter.allow_where(SYS_open, 1, kWrites, O_RDONLY);
#endif
  filter.allow_where(SYS_mmap, 2, PROT_EXEC, 0);
  filter.allow_where(SYS_mprotect, 2, PROT_EXEC, 0);
  filter.allow_where(SYS_ftruncate, 0, kAllBits, static_cast<std::uint32_t>(memory));
  for (const std::uint32_t command : {F_GETFD, F_SETFD, F_GETFL})
    filter.allow_where(SYS_fcntl, 1, kAllBits, command);
  return filter.install();
}

/// Of root's privileges only that to read what others own, which the export may need.
bool drop_privileges() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  sets[0].permitted &= 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;
  sets[0].effective &= sets[0].permitted;
  sets[1].permitted = sets[1].effective = 0;
  sets[0].inheritable = sets[1].inheritable = 0;
  return ::syscall(SYS_capset, &header, sets) == 0;
}

}  // namespace

std::string enter_cage(int memory) {
  const auto refused = [](const char* what) {
    return std::string(what) + ": " + std::strerror(errno);
  };
  if (!drop_privileges()) return refused("capset");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refused("PR_SET_NO_NEW_PRIVS");
  if (!filter_calls(memory)) return refused("seccomp");
  return {};
}

}  // namespace wsp
