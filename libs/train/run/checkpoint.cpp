#include "train/run/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors";

bool is_checkpoint(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return false;
  const auto digits =
      std::string_view(name).substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  return !digits.empty() &&
         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path run, std::int64_t keep)
    : directory_(std::move(run) / "checkpoints"), keep_(std::max<std::int64_t>(1, keep)) {}

std::vector<fs::path> CheckpointStore::list() const {
  std::vector<fs::path> found;
  std::error_code code;
  fs::directory_iterator entries(directory_, code);
  if (code == std::errc::no_such_file_or_directory) return found;
  if (code)
    throw Error(ErrorCode::failure, "cannot read " + directory_.string() + ": " + code.message());
  for (const auto& entry : entries)
    if (entry.is_regular_file() && is_checkpoint(entry.path().filename().string()))
      found.push_back(entry.path());
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename().string(), y = b.filename().string();
    return x.size() != y.size() ? x.size() > y.size() : x > y;
  });
  return found;
}

bool CheckpointStore::any() const { return !list().empty() || fs::exists(best_path()); }

Error CheckpointStore::with_way_on(Error error) const {
  if (!any()) return error;
  return error.within(
      "the last checkpoint is sound: go on with --resume and otherwise the same options");
}

void CheckpointStore::set_aside(const std::vector<fs::path>& damaged) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".tmp" || (extension == ".damaged" && !damaged.empty()))
      fs::remove(entry.path(), ignored);
  }
  for (std::size_t i = 0; i < damaged.size(); ++i)
    if (i == 0)
      fs::rename(damaged[i], damaged[i].string() + ".damaged", ignored);
    else
      fs::remove(damaged[i], ignored);
}

std::optional<TensorFile> CheckpointStore::best() const {
  try {
    return read_tensor_file(best_path(), true);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void CheckpointStore::save(std::int64_t step, const TensorFile& state, bool best) {
  std::error_code code;
  fs::create_directories(directory_, code);
  if (code)
    throw Error(ErrorCode::output, "cannot make " + directory_.string() + ": " + code.message());
  write_tensor_file(directory_ / fmt::format("{}{:09d}{}", kPrefix, step, kSuffix), state);
  if (best) write_tensor_file(best_path(), state);
  const auto all = list();
  for (std::size_t i = static_cast<std::size_t>(keep_); i < all.size(); ++i)
    fs::remove(all[i], code);  // one that cannot be removed costs only space
}

std::optional<CheckpointStore::Found> CheckpointStore::newest() const {
  auto all = list();
  if (fs::exists(best_path())) all.push_back(best_path());
  if (all.empty()) return std::nullopt;
  std::string why;
  std::vector<fs::path> corrupt;
  for (const fs::path& path : all) {
    try {
      TensorFile state = read_tensor_file(path, true);
      return Found{path, std::move(state), std::move(corrupt)};
    } catch (const Error& e) {
      if (why.empty()) why = e.what();
      corrupt.push_back(path);
    }
  }
  throw Error(ErrorCode::corrupt, "none of the " + std::to_string(all.size()) + " checkpoints in " +
                                      directory_.string() + " is whole (the newest: " + why +
                                      "); start again with --force");
}

void CheckpointStore::remove_all() {
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::int64_t steps_of_weights(const fs::path& weights) {
  try {
    return std::stoll(read_tensor_file(weights).metadata.at("wsp.steps"));
  } catch (const std::exception&) {
    return -1;
  }
}

}  // namespace wsp::train
