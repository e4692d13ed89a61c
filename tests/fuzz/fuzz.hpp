#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

/// What libFuzzer, or replay.cpp, calls with each input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace wsp::fuzz {

/// A file that holds the input while a reader of files reads it; its name stays the same.
inline std::filesystem::path file_of(const std::uint8_t* data, std::size_t size,
                                     const char* ending) {
  static const std::string directory =
      std::string(std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp") + "/wsp-fuzz-" +
      std::to_string(::getpid());
  std::filesystem::create_directories(directory);
  static const bool removed_at_exit = std::atexit([] {
                                        std::error_code ignored;
                                        std::filesystem::remove_all(directory, ignored);
                                      }) == 0;
  (void)removed_at_exit;
  const std::filesystem::path path = directory + "/input" + ending;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size) std::abort();
  std::fclose(file);
  return path;
}

}  // namespace wsp::fuzz
