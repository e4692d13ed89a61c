#include "io/medical/saved_scan.hpp"

#include <sys/stat.h>
#include <time.h>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/medical/isolated.hpp"
#include "io/medical/scan.hpp"

namespace wsp {
namespace {

constexpr std::int64_t kNanoseconds = 1'000'000'000;
// Clocks of file systems go in steps, of 10 ms at most.
constexpr std::int64_t kMomentNs = kNanoseconds / 10;

struct SavedHeader {
  std::string path;
  std::int64_t bytes = 0, modified_ns = 0, changed_ns = 0;
  dicom::Header header;
};
WSP_FIELDS(SavedHeader, path, bytes, modified_ns, changed_ns, header)

// Other code may read other things out of a file, and lays them out otherwise.
constexpr std::string_view kFirstLine = "wsp-scan 1 " WSP_SCAN_CODE "\n";

}  // namespace

std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return std::nullopt;
  const auto ns = [](const timespec& t) { return t.tv_sec * kNanoseconds + t.tv_nsec; };
  return FileStamp{s.st_size, ns(s.st_mtim), ns(s.st_ctim)};
}

const dicom::Header* SavedScan::find(const std::string& relative_path,
                                     const FileStamp& stamp) const {
  const auto found = headers_.find(relative_path);
  if (found == headers_.end() || found->second.first != stamp) return nullptr;
  ++found_;
  return &found->second.second;
}

void SavedScan::keep(const std::string& relative_path, const FileStamp& stamp,
                     const dicom::Header& header) {
  if (may_be_the_disk(header.code)) return;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (now.tv_sec * kNanoseconds + now.tv_nsec - stamp.changed_ns < kMomentNs) return;
  const std::lock_guard lock(mutex_);
  headers_.insert_or_assign(relative_path, std::pair(stamp, header));
}

void SavedScan::write(const std::filesystem::path& path) const {
  wire::Writer writer;
  writer.put(headers_.size());
  for (const auto& [name, kept] : headers_)
    writer.put(SavedHeader{name, kept.first.bytes, kept.first.modified_ns, kept.first.changed_ns,
                           kept.second});
  const std::string& bytes = writer.bytes();
  write_file_atomic(path, std::string(kFirstLine) + hex(sha256(bytes)) + "\n" + bytes, 0600);
}

SavedScan SavedScan::load(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path))
    throw Error(ErrorCode::no_input, "no saved scan at " + path.string() +
                                         ": wsp-ingest plan EXPORT --quick --save FILE writes one");
  const std::string all = read_file(path);
  if (!all.starts_with("wsp-scan "))
    throw Error(ErrorCode::usage, path.string() +
                                      " is no saved scan; expected what wsp-ingest plan --save "
                                      "wrote");
  if (!all.starts_with(kFirstLine))
    throw Error(ErrorCode::usage,
                path.string() + " was saved by another version of wsp-ingest: save it again");
  constexpr std::size_t kHex = 64;
  const std::string_view rest = std::string_view(all).substr(kFirstLine.size());
  const auto damaged = [&] {
    return Error(ErrorCode::corrupt, path.string() + " is damaged: save the scan again");
  };
  if (rest.size() <= kHex || rest[kHex] != '\n') throw damaged();
  const std::string_view bytes = rest.substr(kHex + 1);
  if (hex(sha256(bytes)) != rest.substr(0, kHex)) throw damaged();
  SavedScan saved;
  try {
    wire::Reader reader({bytes.data(), bytes.size()});
    const auto count = reader.get<std::size_t>();
    for (std::size_t i = 0; i < count; ++i) {
      SavedHeader h = reader.get<SavedHeader>();
      saved.headers_.insert_or_assign(
          std::move(h.path),
          std::pair(FileStamp{h.bytes, h.modified_ns, h.changed_ns}, std::move(h.header)));
    }
    reader.finish();
  } catch (const wire::Malformed&) {
    throw damaged();
  }
  return saved;
}

}  // namespace wsp
