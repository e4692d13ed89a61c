#pragma once
#include <string_view>

namespace wsp {

/// Let SIGINT, SIGTERM, SIGHUP (unless nohup ignores it), SIGUSR1 and SIGXCPU ask the job to stop
/// after the unit in hand; a second SIGINT or SIGTERM kills, the others, which come repeatedly, do
/// not.
void install_interrupt_handlers();
/// The signal that asked to stop, or 0. Exit codes are 128 + signal.
[[nodiscard]] int interrupt_signal();
/// Take over a signal that another process of the same job received; 0 changes nothing.
void note_interrupt(int signal);
/// Throw Error(interrupted) once a signal asked to stop; `what_now` says what to do, e.g. "run the
/// same command again to go on". For loops over files, series and cases; any thread may call it.
void stop_if_interrupted(std::string_view what_now);

}  // namespace wsp
