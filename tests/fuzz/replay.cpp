// Calls the target with every file of the directories given, and with mutations of each that a
// fixed generator draws: what runs where there is no libFuzzer. Ends with 0 unless the target takes
// it down.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "fuzz.hpp"

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  int mutations = 0;
  for (int i = 1; i < argc; ++i)
    if (std::string(argv[i]).starts_with("--mutations="))
      mutations = std::atoi(argv[i] + 12);
    else
      for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
        files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::size_t executions = 0;
  std::mt19937 random(21);
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<std::uint8_t> bytes((std::istreambuf_iterator<char>(in)),
                                          std::istreambuf_iterator<char>());
    for (int m = 0; m <= mutations; ++m, ++executions) {
      std::vector<std::uint8_t> input = bytes;
      for (unsigned change = m == 0 ? 0 : 1 + random() % 4; change > 0 && !input.empty();
           --change) {
        const std::size_t at = random() % input.size(), length = 1 + random() % 16;
        const auto from = input.begin() + static_cast<std::ptrdiff_t>(at);
        const auto to = from + static_cast<std::ptrdiff_t>(std::min(length, input.size() - at));
        switch (random() % 5) {
          case 0:
            *from = static_cast<std::uint8_t>(*from ^ 1U << random() % 8);
            break;
          case 1:
            std::fill(from, to, static_cast<std::uint8_t>(random() % 2 == 0 ? 0xFF : 0));
            break;
          case 2:
            input.erase(from, to);
            break;
          case 3: {
            const std::vector<std::uint8_t> again(from, to);
            input.insert(from, again.begin(), again.end());
            break;
          }
          default:
            *from = static_cast<std::uint8_t>("0123456789-.:/\"'{}[],\\eE\n \t"[random() % 28]);
        }
      }
      LLVMFuzzerTestOneInput(input.data(), input.size());
    }
  }
  std::printf("%zu executions over %zu files\n", executions, files.size());
  return files.empty() ? 1 : 0;
}
