#include <new>
#include <regex>

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

bool lacks_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const std::string text = error.what();
  for (const char* words : {"out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc"})
    if (text.find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

Rejection segmenter_failure(const std::exception& error) {
  if (lacks_memory(error))
    return {"", "mask", Code::SEGMENTER_FAILED, "no memory to run the model on this volume"};
  const std::string words = words_of(error.what());
  return {"", "mask", Code::SEGMENTER_FAILED,
          "the model failed on this volume" + (words.empty() ? words : ": " + words)};
}

}  // namespace wsp
