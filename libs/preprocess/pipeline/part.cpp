#include "preprocess/pipeline/part.hpp"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"

namespace wsp {
namespace {

std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Part of_slurm() {
  const auto variable = [](const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? std::nullopt : whole_number(text);
  };
  const auto id = variable("SLURM_ARRAY_TASK_ID"), first = variable("SLURM_ARRAY_TASK_MIN"),
             last = variable("SLURM_ARRAY_TASK_MAX"), count = variable("SLURM_ARRAY_TASK_COUNT");
  if (!id || !first || !last || !count)
    throw Error(ErrorCode::usage,
                "--part slurm: this is no task of a Slurm job array (SLURM_ARRAY_TASK_ID, _MIN, "
                "_MAX and _COUNT); submit with sbatch --array=1-4, or give the part as 2/4");
  if (*last - *first + 1 != *count || *id < *first || *id > *last)
    throw Error(ErrorCode::usage,
                "--part slurm: the tasks of the array do not follow each other; submit with sbatch "
                "--array=1-4");
  return {*id - *first + 1, *count};
}

}  // namespace

bool Part::has(std::string_view subject) const {
  if (whole()) return true;
  const Digest digest = sha256("part\n" + std::string(subject));
  std::uint64_t leading = 0;
  for (std::size_t i = 0; i < sizeof leading; ++i) leading = leading << 8U | digest[i];
  return leading % static_cast<std::uint64_t>(of) == static_cast<std::uint64_t>(number - 1);
}

std::string Part::text() const {
  return whole() ? "" : std::to_string(number) + '/' + std::to_string(of);
}

Part parse_part(const std::string& text) {
  if (text == "slurm") return of_slurm();
  const std::size_t slash = text.find('/');
  const auto number = whole_number(std::string_view(text).substr(0, slash));
  const auto of = slash == std::string::npos
                      ? std::nullopt
                      : whole_number(std::string_view(text).substr(slash + 1));
  constexpr int kMost = 100000;
  if (!number || !of || *number < 1 || *number > *of || *of > kMost)
    throw Error(ErrorCode::usage,
                "--part is '" + text + "': expected one of N parts such as 2/4, or slurm");
  return {*number, *of};
}

}  // namespace wsp
