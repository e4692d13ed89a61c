#include "preprocess/segment/model_runtime.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/load_network.hpp"

#if defined(__SANITIZE_THREAD__)
#define WSP_PROBE_HERE 1  // ThreadSanitizer follows no fork
#else
#define WSP_PROBE_HERE 0
#endif

namespace wsp {
namespace {

std::string read_checked(const ModelDescriptor& model) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(model.file, ec))
    throw Error(ErrorCode::usage, "the model's file " + model.file.string() +
                                      ", which its descriptor names, does not exist");
  std::string bytes = read_file(model.file);
  const std::string found = hex(sha256(bytes));
  if (found != model.sha256)
    throw Error(ErrorCode::usage, model.file.string() +
                                      " is not the file that its descriptor "
                                      "describes: expected SHA-256 " +
                                      model.sha256 + ", found " + found +
                                      "; copy the model again, or correct the descriptor");
  return bytes;
}

// Values over the range.
void probe(const ModelDescriptor& model, Network& network) {
  const BatchShape shape = small_batch(model);
  const auto slot = network.make_slot(shape);
  const auto input = slot->input();
  for (std::size_t i = 0; i < input.size(); ++i) {
    const double t = static_cast<double>(i % 1021) / 1020;
    input[i] = static_cast<float>(
        (model.low_hu + t * (model.high_hu - model.low_hu)) * model.factor + model.offset);
  }
  slot->start(shape);
  slot->wait();
  check_output(network, slot->output());
}

// Loads and probes; returns what is wrong, if anything.
std::optional<Error> trouble_with(const ModelDescriptor& model, const std::string& bytes,
                                  const std::string& device, const std::string& precision) {
  try {
    probe(model, *load_network(model, bytes, device, precision));
    return std::nullopt;
  } catch (const Error& e) {
    return e;
  } catch (const std::exception& e) {
    std::string text = e.what();
    // TorchScript's own words stand at the end of a trace.
    if (const auto at = text.rfind("RuntimeError: "); at != std::string::npos) text.erase(0, at);
    return Error(ErrorCode::usage, "the model " + model.file.string() + " fails on a small input " +
                                       "that follows its descriptor: " +
                                       text.substr(0, text.find('\n')) + " (see docs/MODELS.md)");
  }
}

// The child's answer: nothing, or the error's code as one byte and its words.
[[noreturn]] void answer_and_leave(const ModelDescriptor& model, const std::string& bytes,
                                   const std::string& device, const std::string& precision,
                                   int answer, pid_t parent) {
  // The job's handlers only note a signal for later, and an orphan would run on unseen.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NAME, "wsp-probe");
  if (::getppid() != parent) ::_exit(1);
  std::string words;
  if (const auto trouble = trouble_with(model, bytes, device, precision))
    words = static_cast<char>(trouble->code()) + std::string(trouble->what());
  const auto written = ::write(answer, words.data(), words.size());
  ::_exit(written == static_cast<ssize_t>(words.size()) && words.empty() ? 0 : 1);
}

enum class Heard { all, too_late, stop };

// Read until the other end is closed, the time is up, or a signal asks to stop.
Heard read_answer(int answer, std::chrono::milliseconds limit, std::string& text) {
  constexpr int kLookMs = 100;
  const auto end = std::chrono::steady_clock::now() + limit;
  std::array<char, 4096> buffer{};
  for (;;) {
    if (interrupt_signal() != 0) return Heard::stop;
    if (std::chrono::steady_clock::now() >= end) return Heard::too_late;
    pollfd ready{answer, POLLIN, 0};
    if (::poll(&ready, 1, kLookMs) <= 0) continue;
    const ssize_t n = ::read(answer, buffer.data(), buffer.size());
    if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EINTR)) return Heard::all;
  }
}

int reap(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// In a process of its own: a model can end it by a signal, or never return, where an exception
// would be caught.
void probe_in_child(const ModelDescriptor& model, const std::string& bytes,
                    const std::string& device, const std::string& precision,
                    std::chrono::milliseconds limit) {
  std::array<int, 2> pipe_ends{};
  if (::pipe(pipe_ends.data()) != 0)
    throw Error(ErrorCode::failure, std::string("no pipe: ") + std::strerror(errno));
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0)
    throw Error(ErrorCode::failure,
                std::string("no process to probe the model in: ") + std::strerror(errno));
  if (child == 0) {
    ::close(pipe_ends[0]);
    answer_and_leave(model, bytes, device, precision, pipe_ends[1], parent);
  }
  ::close(pipe_ends[1]);
  std::string trouble;
  const Heard heard = read_answer(pipe_ends[0], limit, trouble);
  ::close(pipe_ends[0]);
  if (heard != Heard::all) ::kill(child, SIGKILL);
  const int status = reap(child);
  // Ctrl-C reaches both processes, and may reach the child first.
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
    note_interrupt(WTERMSIG(status));
  stop_if_interrupted(
      "the model was still being tried and nothing was read: run the same command again");
  const std::string name = "the model " + model.file.string();
  constexpr const char* kInput = " a small input that follows its descriptor";
  if (heard == Heard::too_late)
    throw Error(
        ErrorCode::usage,
        name + " gives no answer to" + kInput + " within " +
            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) +
            " s, and was ended: does it return at all? (see docs/MODELS.md)");
  if (!trouble.empty()) throw Error(static_cast<ErrorCode>(trouble[0]), trouble.substr(1));
  if (WIFSIGNALED(status))
    throw Error(ErrorCode::usage, name + " crashes on" + kInput + " (signal " +
                                      std::to_string(WTERMSIG(status)) +
                                      "); was it made for another LibTorch?");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Error(ErrorCode::usage, name + " ends the process on" + kInput);
}

}  // namespace

std::unique_ptr<Network> load_checked_network(const ModelDescriptor& model,
                                              const std::string& device,
                                              const std::string& precision,
                                              std::chrono::milliseconds limit) {
  const std::string bytes = read_checked(model);
  if (WSP_PROBE_HERE == 0) {
    probe_in_child(model, bytes, device, precision, limit);
  } else if (const auto trouble = trouble_with(model, bytes, device, precision)) {
    throw *trouble;
  }
  return load_network(model, bytes, device, precision);
}

void switch_to_build_with(Runtime /*runtime*/, char** /*arguments*/) {}

bool has_build_with(Runtime runtime) { return runtime == linked_runtime(); }

std::unique_ptr<Segmenter> make_segmenter(const std::filesystem::path& descriptor,
                                          const std::string& device, SegmentationPlan plan,
                                          const std::string& precision) {
  ModelDescriptor model = load_descriptor(descriptor);
  if (model.runtime() != linked_runtime())
    throw Error(ErrorCode::usage,
                descriptor.string() +
                    (model.runtime() == Runtime::onnx
                         ? " names an ONNX file, which only wsp-ingest --liver-model runs"
                         : " names a TorchScript file, which wsp-ingest-onnx does not run") +
                    " (see docs/MODELS.md)");
  auto network = load_checked_network(model, device, precision);
  return std::make_unique<ModelSegmenter>(std::move(model), std::move(network), plan);
}

}  // namespace wsp
