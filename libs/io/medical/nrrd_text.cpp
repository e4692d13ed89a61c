#include "io/medical/nrrd_text.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "io/medical/image_header.hpp"

namespace wsp::image {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxHeader = 16U << 20;  // a segmentation may name hundreds of segments

std::string read_start(const fs::path& path, std::size_t bytes) {
  std::error_code unknown;
  const auto size = fs::file_size(path, unknown);
  if (!unknown) bytes = std::min<std::size_t>(bytes, size);
  std::ifstream file(path, std::ios::binary);
  std::string start(bytes, '\0');
  file.read(start.data(), static_cast<std::streamsize>(bytes));
  start.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return start;
}

}  // namespace

std::string NrrdText::field(const std::string& name) const {
  const auto found = fields.find(name);
  return found == fields.end() ? "" : found->second;
}

std::string NrrdText::word(const std::string& name) const { return lower(field(name)); }

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(std::move(word));
  return out;
}

std::optional<std::vector<std::vector<double>>> vectors(const std::string& text) {
  std::vector<std::vector<double>> out;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t", at)) != std::string::npos) {
    std::vector<double> one;
    if (text[at] == '(') {
      const auto end = text.find(')', at);
      if (end == std::string::npos) return std::nullopt;
      std::istringstream in(text.substr(at + 1, end - at - 1));
      for (std::string part; std::getline(in, part, ',');) {
        const auto value = number<double>(trim(part));
        if (!value) return std::nullopt;
        one.push_back(*value);
      }
      if (one.empty()) return std::nullopt;
      at = end + 1;
    } else if (lower(text.substr(at, 4)) == "none") {
      at += 4;
    } else {
      return std::nullopt;
    }
    out.push_back(std::move(one));
  }
  return out;
}

Outcome<NrrdText> read_nrrd_text(const fs::path& path) {
  std::string start = read_start(path, 65536);
  if (start.starts_with("\x1f\x8b"))
    return refuse_read(Code::UNSUPPORTED_ENCODING, "gzip of a whole NRRD file; unpack it");
  if (!start.starts_with("NRRD000")) return refuse_read(Code::BAD_HEADER, "no NRRD magic");
  if (start.find("\n\n") == std::string::npos && start.find("\n\r\n") == std::string::npos)
    start = read_start(path, kMaxHeader);
  NrrdText text;
  std::istringstream lines(start);
  for (std::string line; std::getline(lines, line); text.length += line.size() + 1) {
    if (text.field("datafile").starts_with("LIST")) {
      if (!trim(line).empty()) text.list.push_back(trim(line));
      continue;
    }
    if (trim(line).empty()) {  // the voxels follow
      text.length += line.size() + 1;
      break;
    }
    const auto colon = line.find(':');
    if (line.front() == '#' || colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 1);
    if (value.starts_with('=')) {
      text.pairs[line.substr(0, colon)] = trim(value.substr(1));
    } else if (value.starts_with(' ')) {
      std::string name = lower(line.substr(0, colon));
      std::erase(name, ' ');
      text.twice |= !text.fields.emplace(std::move(name), trim(value)).second;
    }
  }
  return text;
}

}  // namespace wsp::image
