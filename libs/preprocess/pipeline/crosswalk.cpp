#include "preprocess/pipeline/crosswalk.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHeader = "pseudonym\toriginal\n";

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '\\')
      safe += "\\\\";
    else if (c == '\t')
      safe += "\\t";
    else if (c == '\n')
      safe += "\\n";
    else if (c == '\r')
      safe += "\\r";
    else
      safe += c;
  }
  return safe;
}

}  // namespace

void check_crosswalk(const fs::path& path) {
  const std::string name = "the crosswalk " + path.string();
  const fs::path directory = fs::absolute(path).parent_path();
  std::error_code ec;
  if (!fs::is_directory(directory, ec))
    throw Error(ErrorCode::output, name + " cannot be written: its directory does not exist");
  if (::access(directory.c_str(), W_OK | X_OK) != 0)
    throw Error(ErrorCode::output, name + " cannot be written: " + std::strerror(errno) +
                                       ". Choose a directory that you may write to");
  const fs::file_status status = fs::symlink_status(path, ec);
  if (!fs::exists(status)) return;
  bool ours = false;
  try {
    ours = fs::is_regular_file(status) && read_file(path).starts_with(kHeader);
  } catch (const Error&) {
    ours = false;
  }
  if (!ours)
    throw Error(ErrorCode::output, name +
                                       " exists and is no crosswalk of an earlier run, so it is "
                                       "not overwritten: choose another name");
}

std::string crosswalk_text(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string text(kHeader);
  for (const auto& [pseudonym, original] : rows)
    text += escaped(pseudonym) + '\t' + escaped(original) + '\n';
  return text;
}

}  // namespace wsp
