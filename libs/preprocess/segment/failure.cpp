#include <regex>
#include <string_view>

#include "io/core/device_fault.hpp"
#include "io/core/error.hpp"
#include "preprocess/segment/segmenter.hpp"

namespace wsp {
namespace {

// Of a trace of TorchScript's its own words, which stand last; of anything else the first line.
// Paths are left out: they may name people.
std::string words_of(const std::string& text) {
  const auto last = text.rfind("Error: ");
  const auto begin = last == std::string::npos ? 0 : text.find_last_of(" \n", last) + 1;
  std::string line = text.substr(begin, text.find('\n', begin) - begin);
  constexpr std::size_t kLongest = 4096;  // std::regex recurses once per character
  if (line.size() > kLongest) line.resize(kLongest);
  static const std::regex path(R"((^|[\s"'(=:,])(?:~|\.{1,2})?(?:/[^\s"'(),:/]+)+/?)");
  line = std::regex_replace(line, path, "$1(path)");
  constexpr std::size_t kMost = 200;
  if (line.size() > kMost) line = line.substr(0, kMost) + "...";
  return line;
}

}  // namespace

Rejection segmenter_failure(const std::exception& error) {
  const std::string_view text = error.what();
  if (is_out_of_memory(error)) {
    const bool on_card = text.find("CUDA") != text.npos || text.find("CUDNN") != text.npos;
    return {
        "", "mask", Code::SEGMENTER_FAILED,
        on_card
            ? "no memory on the card to run the model on this volume: see nvidia-smi for what else "
              "uses it, or take --precision bf16 or --device cpu"
            : "no memory to run the model on this volume"};
  }
  const std::string words = words_of(error.what());
  // What every later case would meet too.
  const DeviceFault* fault = find_device_fault(text);
  if (fault != nullptr || text.find("CUDA error") != text.npos)
    throw Error(
        ErrorCode::failure,
        "the card failed (" + words + "): " +
            std::string(fault != nullptr ? fault->advice
                                         : "see nvidia-smi, and dmesg for lines with Xid") +
            ". Complete cases are kept; --device cuda:N takes another card, --device cpu none");
  return {"", "mask", Code::SEGMENTER_FAILED,
          "the model failed on this volume" + (words.empty() ? words : ": " + words)};
}

}  // namespace wsp
