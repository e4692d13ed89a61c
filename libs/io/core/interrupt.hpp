#pragma once

namespace wsp {

/// Let SIGINT and SIGTERM ask the job to stop after the unit in hand; a second signal kills.
void install_interrupt_handlers();
/// The signal that asked to stop, or 0. Exit codes are 128 + signal.
[[nodiscard]] int interrupt_signal();

}  // namespace wsp
