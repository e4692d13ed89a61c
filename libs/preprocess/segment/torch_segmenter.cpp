#include "preprocess/segment/torch_segmenter.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/torch_network.hpp"

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
    throw Error(ErrorCode::usage, "the model's TorchScript file " + model.file.string() +
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
  check_probabilities(slot->output());
}

// Loads and probes; returns what is wrong, or nothing.
std::string trouble_with(const ModelDescriptor& model, const std::string& bytes,
                         const std::string& device, const std::string& precision) {
  try {
    probe(model, *load_torchscript(model, bytes, device, precision));
    return {};
  } catch (const Error& e) {
    return e.what();
  } catch (const std::exception& e) {
    std::string text = e.what();
    // TorchScript's own words stand at the end of a trace.
    if (const auto at = text.rfind("RuntimeError: "); at != std::string::npos) text.erase(0, at);
    return "the model " + model.file.string() + " fails on a small input " +
           "that follows its descriptor: " + text.substr(0, text.find('\n')) +
           " (see docs/MODELS.md)";
  }
}

// In a process of its own: a model can end it by a signal, where an exception would be caught.
void probe_in_child(const ModelDescriptor& model, const std::string& bytes,
                    const std::string& device, const std::string& precision) {
  std::array<int, 2> pipe_ends{};
  if (::pipe(pipe_ends.data()) != 0)
    throw Error(ErrorCode::failure, std::string("no pipe: ") + std::strerror(errno));
  const pid_t child = ::fork();
  if (child < 0)
    throw Error(ErrorCode::failure,
                std::string("no process to probe the model in: ") + std::strerror(errno));
  if (child == 0) {
    ::close(pipe_ends[0]);
    const std::string trouble = trouble_with(model, bytes, device, precision);
    const auto written = ::write(pipe_ends[1], trouble.data(), trouble.size());
    ::_exit(written == static_cast<ssize_t>(trouble.size()) && trouble.empty() ? 0 : 1);
  }
  ::close(pipe_ends[1]);
  std::string trouble;
  std::array<char, 4096> buffer{};
  ssize_t n = 0;
  while ((n = ::read(pipe_ends[0], buffer.data(), buffer.size())) > 0 || (n < 0 && errno == EINTR))
    if (n > 0) trouble.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(pipe_ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!trouble.empty()) throw Error(ErrorCode::usage, trouble);
  if (WIFSIGNALED(status))
    throw Error(ErrorCode::usage, "the model " + model.file.string() +
                                      " crashes on a small input that follows its descriptor "
                                      "(signal " +
                                      std::to_string(WTERMSIG(status)) +
                                      "); was it made for another LibTorch?");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Error(ErrorCode::usage, "the model " + model.file.string() +
                                      " ends the process on a small input that follows its "
                                      "descriptor");
}

}  // namespace

std::unique_ptr<Network> load_torch_network(const ModelDescriptor& model,
                                            const std::string& device,
                                            const std::string& precision) {
  const std::string bytes = read_checked(model);
  if (WSP_PROBE_HERE == 0) {
    probe_in_child(model, bytes, device, precision);
  } else if (const std::string trouble = trouble_with(model, bytes, device, precision);
             !trouble.empty()) {
    throw Error(ErrorCode::usage, trouble);
  }
  return load_torchscript(model, bytes, device, precision);
}

void switch_to_torch_build(char** /*arguments*/) {}

std::unique_ptr<Segmenter> make_torch_segmenter(const std::filesystem::path& descriptor,
                                                const std::string& device, SegmentationPlan plan,
                                                const std::string& precision) {
  ModelDescriptor model = load_descriptor(descriptor);
  auto network = load_torch_network(model, device, precision);
  return std::make_unique<ModelSegmenter>(std::move(model), std::move(network), plan);
}

}  // namespace wsp
