#pragma once
#include <string>

namespace wsp {

/// Give up for good what this process needs no more once it only reads files and answers on a
/// socket: privileges (but that to read any file, where it had it), and by seccomp every system
/// call but those that
///  - open and read files and directories, and open them in no other way than for reading;
///  - take and free memory that is not executable, and resize the file `memory`;
///  - send and receive on sockets that are open already;
///  - tell the time, wait, and end.
/// All others fail with EPERM: no new socket, no program, no process or thread, no signal to
/// another process, no file that is written. The process must have one thread. Returns an empty
/// string, or what the system refused; then nothing may be trusted.
[[nodiscard]] std::string enter_cage(int memory);

}  // namespace wsp
