#include "io/medical/export_walk.hpp"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/medical/image_file.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

using Identity = std::pair<dev_t, ino_t>;

std::string reason(int error) { return std::generic_category().message(error); }

/// Errors that say something lasting of a path. All others come and go with disk and network.
bool is_lasting(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EISDIR:
      return true;
    default:
      return false;
  }
}

class Walker {
 public:
  Walker(const fs::path& root, const WalkOptions& options)
      : root_(root), options_(options), matched_(options.exclude.size(), false) {}

  std::vector<FileEntry> run() {
    directory({}, false, false);
    // Links come after all that is reached without them: what is inside anyway keeps its own path.
    while (!links_.empty()) {
      const auto [path, excluded] = links_.front();
      links_.pop_front();
      follow(path, excluded);
    }
    if (options_.once) name_once();
    warn_of_idle_globs();
    std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) {
      return a.entry.relative_path < b.entry.relative_path;
    });
    std::vector<FileEntry> entries;
    entries.reserve(files_.size());
    for (File& file : files_) entries.push_back(std::move(file.entry));
    return entries;
  }

  std::vector<FileEntry> run_on_file(const std::string& name) {
    file(name, false, is_excluded(name, false), false);
    warn_of_idle_globs();
    return {files_.front().entry};
  }

 private:
  struct File {
    FileEntry entry;
    Identity identity{};
    bool linked = false;
  };

  void directory(const fs::path& relative, bool excluded, bool linked) {
    struct stat status {};
    if (::stat((root_ / relative).c_str(), &status) == 0 &&
        !listed_.emplace(status.st_dev, status.st_ino).second && linked)
      return add(relative, Code::DUPLICATE_FILE, "a directory that is listed by another path",
                 excluded);
    std::error_code error;
    fs::directory_iterator entries(root_ / relative, error);
    if (error) {
      if (relative.empty())
        throw Error(ErrorCode::no_input,
                    "expected a readable directory, found: " + error.message());
      return add(relative,
                 error == std::errc::permission_denied ? Code::PERMISSION_DENIED
                                                       : Code::UNREADABLE_DIRECTORY,
                 "a directory: " + error.message(), excluded, !is_lasting(error.value()));
    }
    struct Item {
      fs::path name;
      bool directory, link;
    };
    std::vector<Item> items;
    while (entries != fs::directory_iterator()) {
      std::error_code unknown;  // then it is no directory, and file() says why
      const bool link = entries->is_symlink(unknown);
      items.push_back({entries->path().filename(), !link && entries->is_directory(unknown), link});
      entries.increment(error);
      if (error) break;  // the iterator is at its end now, as after the last entry
    }
    if (error)
      add(relative.empty() ? "." : relative, Code::UNREADABLE_DIRECTORY,
          "broke off after " + std::to_string(items.size()) + " entries: " + error.message(),
          excluded, true);
    // The order in which a directory gives its names decides nothing.
    std::sort(items.begin(), items.end(),
              [](const Item& a, const Item& b) { return a.name.native() < b.name.native(); });
    for (const Item& item : items) {
      const fs::path path = relative / item.name;
      const bool out = is_excluded(path, item.directory) || excluded;
      if (item.directory)
        directory(path, out, linked);
      else
        file(path, item.link, out, linked);
    }
  }

  void file(const fs::path& relative, bool link, bool excluded, bool linked) {
    struct stat status {};
    if (::stat((root_ / relative).c_str(), &status) != 0) {
      const int error = errno;
      const bool dangling = link && (error == ENOENT || error == ENOTDIR || error == ELOOP);
      return add(relative, dangling ? Code::DANGLING_LINK : Code::PERMISSION_DENIED, reason(error),
                 excluded, !dangling && !is_lasting(error));
    }
    if (S_ISDIR(status.st_mode) && !link) {  // its kind could not be told a moment ago
      directory(relative, is_excluded(relative, true) || excluded, linked);
    } else if (S_ISDIR(status.st_mode)) {
      links_.emplace_back(relative, is_excluded(relative, true) || excluded);
    } else if (S_ISREG(status.st_mode)) {
      add(relative, Code::USED, "", excluded);
      files_.back().entry.bytes = static_cast<std::uint64_t>(status.st_size);
      files_.back().identity = {status.st_dev, status.st_ino};
      files_.back().linked = link || linked;
    } else {
      add(relative, Code::NOT_DICOM, "not a regular file", excluded);
    }
  }

  void follow(const fs::path& link, bool excluded) {
    if (options_.follow_links) return directory(link, excluded, true);
    struct stat status {};
    const bool listed = ::stat((root_ / link).c_str(), &status) == 0 &&
                        listed_.contains({status.st_dev, status.st_ino});
    add(link, listed ? Code::DUPLICATE_FILE : Code::LINK_NOT_FOLLOWED,
        listed ? "a link to a directory that is listed by another path" : "", excluded);
  }

  void add(const fs::path& relative, Code code, std::string detail, bool excluded,
           bool system_failed = false) {
    File file;
    file.entry.relative_path = relative.generic_string();
    file.entry.code = excluded ? Code::EXCLUDED : code;
    if (!excluded) file.entry.detail = std::move(detail);
    file.entry.system_failed = system_failed && !excluded;
    files_.push_back(std::move(file));
  }

  /// Of a file that links lead to, the path that a person would name: not hidden (a store of
  /// objects such as .git/annex), then not through a link.
  void name_once() {
    std::map<Identity, std::vector<File*>> ways;
    for (const File& file : files_)
      if (file.linked && file.entry.code == Code::USED) ways[file.identity];
    for (File& file : files_)
      if (const auto way = ways.find(file.identity);
          way != ways.end() && file.entry.code == Code::USED)
        way->second.push_back(&file);
    const auto rank = [](const File* file) {
      const std::string& path = file->entry.relative_path;
      return std::tuple(path.starts_with('.') || path.find("/.") != std::string::npos, file->linked,
                        std::string_view(path));
    };
    for (auto& [identity, paths] : ways) {
      const auto best =
          std::min_element(paths.begin(), paths.end(),
                           [&](const File* a, const File* b) { return rank(a) < rank(b); });
      for (File* file : paths)
        if (file != *best) {
          file->entry.code = Code::DUPLICATE_FILE;
          file->entry.detail = "the same file as another path";
        }
    }
  }

  bool is_excluded(const fs::path& relative, bool is_directory) {
    bool out = false;
    for (std::size_t i = 0; i < matched_.size(); ++i) {
      std::string glob = options_.exclude[i];
      if (glob.ends_with('/')) {
        if (!is_directory) continue;
        glob.pop_back();
      }
      const bool anchored = glob.starts_with('/');
      glob.erase(0, anchored ? 1 : glob.starts_with("./") ? 2 : 0);
      if (::fnmatch(glob.c_str(), relative.c_str(), 0) != 0 &&
          (anchored || ::fnmatch(glob.c_str(), relative.filename().c_str(), 0) != 0))
        continue;
      out = matched_[i] = true;
    }
    return out;
  }

  void warn_of_idle_globs() const {
    for (std::size_t i = 0; i < matched_.size(); ++i)
      if (!matched_[i])
        log::warn("--exclude: glob " + std::to_string(i + 1) + " of " +
                  std::to_string(matched_.size()) +
                  " matches nothing in the export; it is matched with paths relative to the export "
                  "and with names, and '*' stands for any characters");
  }

  const fs::path& root_;
  const WalkOptions& options_;
  std::vector<bool> matched_;
  std::vector<File> files_;
  std::set<Identity> listed_;
  std::deque<std::pair<fs::path, bool>> links_;  // to directories; whether excluded
};

std::string lower_name(const fs::path& path) {
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

std::string bytes_at(const fs::path& path, off_t offset, std::size_t count) {
  std::string bytes(count, '\0');
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return "";
  const ssize_t got = ::pread(file, bytes.data(), count, offset);
  ::close(file);
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

using namespace std::string_view_literals;

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

/// Parts of a split archive, and a tar of before POSIX, have no magic of their own.
bool is_named_archive(std::string name) {
  const auto dot = std::min(name.rfind('.'), name.size());
  const std::string end = name.substr(dot);
  const auto digits_from = [&](std::size_t at) {
    return end.size() > at && end.find_first_not_of("0123456789", at) == std::string::npos;
  };
  if (end.size() == 4 && (end[1] == 'z' || end[1] == 'r') && digits_from(2)) return true;  // .z01
  if (digits_from(1)) name.resize(dot);  // NAME.zip.001
  return ends_with_any(name, {".zip", ".tar", ".7z", ".rar", ".iso", ".tgz", ".tbz2", ".txz",
                              ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"});
}

}  // namespace

std::vector<FileEntry> list_files(fs::path& root, const WalkOptions& options) {
  struct stat status {};
  if (::stat(root.c_str(), &status) != 0)
    throw Error(ErrorCode::no_input,
                "expected an export to scan at the path given, found: " + reason(errno));
  if (S_ISDIR(status.st_mode)) return Walker(root, options).run();
  const std::string name = root.filename().string();
  root = root.parent_path();
  return Walker(root, options).run_on_file(name);
}

std::vector<FileEntry> list_mask_files(fs::path root, bool follow_links) {
  std::vector<FileEntry> files;
  try {
    files = list_files(root, {follow_links, {}, false});
  } catch (Error& e) {
    throw e.within("while listing the mask directory (--masks)");
  }
  for (FileEntry& file : files) {
    if (file.code != Code::USED) continue;
    const fs::path path = root / file.relative_path;
    const auto say = [&](Code code, std::string detail = {}) {
      file.code = code;
      file.detail = std::move(detail);
    };
    if (is_apple_double(path))
      say(Code::APPLEDOUBLE);
    else if (is_image_file_name(path) && path.filename().native().starts_with('.'))
      say(Code::NOT_DICOM, "a hidden file");
    else if (is_image_file_name(path))
      continue;
    else if (file.bytes == 0)
      say(Code::EMPTY_FILE);
    else if (ReadFailure failure = read_failure(path); !failure.why.empty()) {
      file.system_failed = failure.system_failed;
      say(Code::PERMISSION_DENIED, std::move(failure.why));
    } else if (bytes_at(path, 128, 4) == "DICM")
      say(Code::MASK_UNREFERENCED,
          "a DICOM file: SEG and RTSTRUCT objects are read where they lie in the export");
    else if (const auto kind = archive_kind(path))
      say(Code::ARCHIVE, *kind);
    else
      say(Code::NOT_DICOM);
  }
  return files;
}

bool is_apple_double(const fs::path& path) {
  return path.filename().string().starts_with("._") && bytes_at(path, 0, 4) == "\x00\x05\x16\x07"sv;
}

std::optional<std::string> archive_kind(const fs::path& path) {
  const std::string name = lower_name(path);
  // Documents, programs and arrays that are zip or gzip inside.
  if (ends_with_any(name, {".docx", ".xlsx", ".pptx", ".docm", ".xlsm",  ".pptm", ".odt",
                           ".ods",  ".odp",  ".epub", ".jar",  ".pages", ".key",  ".numbers",
                           ".whl",  ".npz",  ".pt",   ".pth",  ".ts",    ".kmz",  ".svgz"}))
    return std::nullopt;
  static constexpr std::array<std::pair<std::string_view, const char*>, 12> kMagics{{
      {"PK\x03\x04"sv, "zip"},
      {"PK\x05\x06"sv, "zip"},
      {"PK\x07\x08"sv, "zip"},
      {"7z\xbc\xaf\x27\x1c"sv, "7z"},
      {"Rar!\x1a\x07"sv, "rar"},
      {"\x1f\x8b"sv, "gzip"},
      {"\x1f\x9d"sv, "compress"},
      {"BZh"sv, "bzip2"},
      {"\xfd\x37zXZ\0"sv, "xz"},
      {"\x28\xb5\x2f\xfd"sv, "zstd"},
      {"\x04\x22\x4d\x18"sv, "lz4"},
      {"MSCF\0\0\0\0"sv, "cab"},
  }};
  const std::string head = bytes_at(path, 0, 512);
  for (const auto& [magic, word] : kMagics)
    if (head.starts_with(magic)) return word;
  constexpr std::size_t kTarMagic = 257;
  constexpr off_t kIsoMagic = 0x8001;
  if (head.size() > kTarMagic && std::string_view(head).substr(kTarMagic).starts_with("ustar"))
    return "tar";
  if (bytes_at(path, kIsoMagic, 5) == "CD001") return "iso";
  if (is_named_archive(name)) return "by its name";
  return std::nullopt;
}

ReadFailure read_failure(const fs::path& path, bool whole) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    const int error = errno;
    return {reason(error), !is_lasting(error)};
  }
  struct stat status {};
  int error = ::fstat(file, &status) != 0 ? errno : 0;
  char byte = 0;
  for (const off_t at : {off_t{0}, status.st_size - 1})
    if (error == 0 && status.st_size > 0 && ::pread(file, &byte, 1, at) < 0) error = errno;
  std::vector<char> buffer(whole && error == 0 ? 1 << 16 : 0);
  for (ssize_t n = 1; n > 0 && !buffer.empty();) {
    n = ::read(file, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) n = 1;
    if (n < 0) error = errno;
  }
  ::close(file);
  if (error == 0) return {};
  return {reason(error), !is_lasting(error)};
}

}  // namespace wsp
