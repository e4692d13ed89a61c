#include <new>
#include <regex>

#include "io/core/error.hpp"
#include "preprocess/segment/segmenter.hpp"

namespace wsp {
namespace {

// Of a trace of TorchScript's its own words, which stand last; of anything else the first line. Paths
// are left out: they may name people.
std::string words_of(const std::string& text) {
  const auto last = text.rfind("Error: ");
  const auto begin = last == std::string::npos ? 0 : text.find_last_of(" \n", last) + 1;
  std::string line = text.substr(begin, text.find('\n', begin) - begin);
  static const std::regex path(R"((^|[\s"'(=:,])(?:~|\.{1,2})?(?:/[^\s"'(),:/]+)+/?)");
  line = std::regex_replace(line, path, "$1(path)");
  constexpr std::size_t kMost = 200;
  if (line.size() > kMost) line = line.substr(0, kMost) + "...";
  return line;
}

// What every case after this one would meet again: the process cannot use the card any more.
bool lost_the_card(const std::string& text) { return text.find("CUDA error") != std::string::npos; }

}  // namespace

bool lacks_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const std::string text = error.what();
  for (const char* words : {"out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc"})
    if (text.find(words) != std::string::npos) return true;
  return false;
}

Rejection segmenter_failure(const std::exception& error) {
  if (lacks_memory(error)) {
    const bool on_card = std::string(error.what()).find("CUDA") != std::string::npos;
    return {"", "mask", Code::SEGMENTER_FAILED,
            on_card ? "no memory on the card to run the model on this volume: see nvidia-smi for what else "
                      "uses it, or take --model-precision bf16 or --device cpu"
                    : "no memory to run the model on this volume"};
  }
  const std::string words = words_of(error.what());
  if (lost_the_card(error.what()))
    throw Error(ErrorCode::failure,
                "the card failed (" + words +
                    "), and this process cannot use it any more: see nvidia-smi and dmesg (lines with Xid), then "
                    "start again, on another card with --device cuda:N or with --device cpu; complete cases are kept");
  return {"", "mask", Code::SEGMENTER_FAILED,
          "the model failed on this volume" + (words.empty() ? words : ": " + words)};
}

}  // namespace wsp
