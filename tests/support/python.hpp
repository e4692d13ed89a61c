#pragma once
#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace wsp::test {

/// The interpreter that independent readers and references run in.
inline std::string python() {
  const char* named = std::getenv("WSP_PYTHON");
  return named != nullptr && *named != '\0' ? named : "/usr/bin/python3";
}

/// Run a shell command; returns its standard output.
inline std::string run_command(const std::string& command, int& status) {
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  std::array<char, 4096> buffer{};
  std::size_t n = 0;
  while ((n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0)
    output.append(buffer.data(), n);
  status = ::pclose(pipe);
  return output;
}

/// True where Python can import these modules ("numpy, scipy").
inline bool python_has(const std::string& modules) {
  int status = 0;
  (void)run_command(python() + " -c 'import " + modules + "' 2>/dev/null", status);
  return status == 0;
}

}  // namespace wsp::test

/// Skip, loudly, where Python lacks modules that hold the reference.
#define WSP_REQUIRE_PYTHON(modules)                                                    \
  if (!wsp::test::python_has(modules)) {                                               \
    std::fprintf(stderr, "*** PYTHON LACKS %s: this test did not run ***\n", modules); \
    GTEST_SKIP() << "Python lacks " << modules;                                        \
  }                                                                                    \
  static_assert(true)
