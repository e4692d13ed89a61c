#include "train/run/metrics.hpp"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"

namespace wsp::train {
namespace {

// The step of a line, or nothing for what is no line of ours.
std::optional<std::int64_t> step_of(std::string_view line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto found = json.find("step");
  if (found == json.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

struct Kept {
  std::uint64_t bytes = 0;
  std::int64_t last_step = std::numeric_limits<std::int64_t>::min();
};

// How much of a file belongs to steps up to `last`.
Kept kept_part(const std::filesystem::path& path, std::int64_t last) {
  const std::string text = read_file(path);
  Kept kept;
  std::size_t cut_at = 0;  // number of the first line that goes
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    ++number;
    const std::size_t end = text.find('\n', begin);
    const bool whole = end != std::string::npos;
    const std::string_view line = std::string_view(text).substr(begin, whole ? end - begin : end);
    const std::optional<std::int64_t> step = whole ? step_of(line) : std::nullopt;
    const bool keep = step && *step <= last && *step >= kept.last_step;
    if (keep && cut_at != 0)
      throw Error(ErrorCode::corrupt,
                  fmt::format("{}: line {} belongs to step {}, but line {} before it is damaged or "
                              "of a step after {}. Move the file away to resume without it.",
                              path.string(), number, *step, cut_at, last));
    if (keep) {
      kept.bytes = end + 1;
      kept.last_step = *step;
    } else if (cut_at == 0) {
      cut_at = number;
    }
    begin = whole ? end + 1 : text.size();
  }
  return kept;
}

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& path,
                             std::optional<std::int64_t> resume_after)
    : file_(path, resume_after ? AppendFile::Open::create_or_append : AppendFile::Open::create_new),
      last_step_(std::numeric_limits<std::int64_t>::min()) {
  if (!resume_after) return;
  const Kept kept = kept_part(path, *resume_after);
  if (kept.bytes < file_.size()) file_.truncate(kept.bytes);
  last_step_ = kept.last_step;
}

void MetricsWriter::write(std::int64_t step,
                          const std::vector<std::pair<std::string, MetricValue>>& fields) {
  if (step < last_step_)
    throw Error(ErrorCode::failure,
                fmt::format("a line of step {} cannot follow one of step {} in {}", step,
                            last_step_, file_.path().string()));
  nlohmann::ordered_json line;
  line["step"] = step;
  for (const auto& [name, value] : fields)
    std::visit([&](const auto& v) { line[name] = v; }, value);
  // Text that is not UTF-8 must not stop a run.
  file_.append(json_text(line) + '\n');
  last_step_ = step;
}

void MetricsWriter::sync() { file_.sync(); }
void MetricsWriter::close() { file_.close(); }

}  // namespace wsp::train
