#include "io/medical/nrrd_files.hpp"

#include "io/medical/image_header.hpp"

namespace wsp::image {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 65536;

// `x_%03d.raw 1 20 1`, by what printf would make of it.
std::optional<std::vector<std::string>> numbered(const std::vector<std::string>& field) {
  if (field.size() < 4 || field.size() > 5) return std::nullopt;
  const auto low = number<int>(field[1]), high = number<int>(field[2]),
             step = number<int>(field[3]);
  const std::string& format = field.front();
  const auto percent = format.find('%');
  const auto letter = format.find_first_not_of("0123456789", percent + 1);
  if (!low || !high || !step || *step == 0 || letter == std::string::npos ||
      (format[letter] != 'd' && format[letter] != 'i' && format[letter] != 'u') ||
      format.find('%', letter) != std::string::npos || letter - percent > 3)
    return std::nullopt;
  const std::string width = format.substr(percent + 1, letter - percent - 1);
  const auto digits = width.empty() ? 0U : number<unsigned>(width).value_or(0);
  std::vector<std::string> names;
  for (std::int64_t i = *low; *step > 0 ? i <= *high : i >= *high; i += *step) {
    std::string text = std::to_string(i);
    if (text.size() < digits)
      text.insert(0, digits - text.size(), width.starts_with('0') ? '0' : ' ');
    names.push_back(format.substr(0, percent) + text + format.substr(letter + 1));
    if (names.size() > kMaxFiles) return std::nullopt;
  }
  return names;
}

}  // namespace

Outcome<std::vector<fs::path>> nrrd_files(const fs::path& header, const NrrdText& text) {
  std::vector<std::string> names;
  const std::string field = text.field("datafile");
  if (field.starts_with("LIST")) {
    names = text.list;
    if (names.empty() || names.size() > kMaxFiles)
      return refuse_read(Code::BAD_HEADER, "the list of data files is empty or absurd");
  } else if (field.find('%') != std::string::npos) {
    const auto found = numbered(words(field));
    if (!found || found->empty())
      return refuse_read(Code::UNSUPPORTED_ENCODING,
                         "a pattern of data files that is not read here");
    names = *found;
  } else if (!field.empty()) {
    names.push_back(field);
  }
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    const fs::path file = fs::path(name).lexically_normal();
    if (file.is_absolute() || *file.begin() == "..")
      return refuse_read(Code::BAD_HEADER, "a data file lies outside the header's folder");
    files.push_back(header.parent_path() / file);
  }
  return files;
}

bool files_fit(std::size_t files, const NrrdText& text, const std::vector<std::int64_t>& sizes) {
  const auto field = words(text.field("datafile"));
  const bool list = field.front().starts_with("LIST");
  if (!list && field.front().find('%') == std::string::npos) return true;
  std::size_t parts = sizes.size() - 1;
  if (field.size() == (list ? 2U : 5U)) parts = number<std::size_t>(field.back()).value_or(0);
  if (parts == sizes.size()) return static_cast<std::size_t>(sizes.back()) % files == 0;
  double wanted = 1;
  for (std::size_t k = parts; k < sizes.size(); ++k) wanted *= static_cast<double>(sizes[k]);
  return parts > 0 && parts < sizes.size() && wanted == static_cast<double>(files);
}

std::vector<fs::path> nrrd_data(const fs::path& header) {
  const auto text = read_nrrd_text(header);
  if (!text) return {};
  const auto files = nrrd_files(header, text.value());
  if (!files) return {};
  std::vector<fs::path> found;
  for (const fs::path& file : files.value())
    if (std::error_code ec; fs::is_regular_file(file, ec)) found.push_back(file);
  return found;
}

}  // namespace wsp::image
