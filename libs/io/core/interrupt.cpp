#include "io/core/interrupt.hpp"

#include <csignal>
#include <string>

#include "io/core/error.hpp"

namespace wsp {
namespace {
volatile std::sig_atomic_t g_signal = 0;

// What a terminal, a launcher and the system say once and then again: a closed terminal, a batch
// system's notice of the end (Slurm's --signal=USR1@120, mpirun's forwarding), the limit of CPU
// time, each second.
constexpr int kNotices[] = {SIGHUP, SIGUSR1, SIGXCPU};

void on_signal(int number) {
  g_signal = number;
  // Whichever of these comes next ends the process: the unit in hand may never be done.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  for (const int notice : kNotices) std::signal(notice, SIG_IGN);
}
}  // namespace

void install_interrupt_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  for (const int notice : kNotices)
    if (std::signal(notice, on_signal) == SIG_IGN) std::signal(notice, SIG_IGN);  // nohup
}

int interrupt_signal() { return g_signal; }

void note_interrupt(int signal) {
  if (g_signal == 0) g_signal = signal;
}

void stop_if_interrupted(std::string_view what_now) {
  if (g_signal != 0)
    throw Error(ErrorCode::interrupted, "stopped as asked; " + std::string(what_now));
}

}  // namespace wsp
