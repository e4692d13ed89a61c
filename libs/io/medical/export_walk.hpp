#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/medical/study.hpp"

/// What lies below a directory, whatever its names, links and kinds. Internal to io/medical.
namespace wsp {

struct WalkOptions {
  bool follow_links = false;         ///< enter directories behind symbolic links
  std::vector<std::string> exclude;  ///< globs, see list_files()
  bool once = true;  ///< of several paths to one file, name one USED and the others DUPLICATE_FILE
};

/// List what lies below `root`, sorted by path; a file as root is a list of one. Nothing is left
/// out in silence: a regular file is USED until its content says otherwise, and each of these is an
/// entry with its own code: a directory that cannot be opened (PERMISSION_DENIED) or breaks off
/// while it is listed (UNREADABLE_DIRECTORY), a link to nothing (DANGLING_LINK), a link to a
/// directory (LINK_NOT_FOLLOWED; DUPLICATE_FILE where that directory is listed by another path),
/// and what is no regular file (NOT_DICOM; never opened). With follow_links every directory is
/// listed once, by device and inode, so that circles end.
///
/// An excluded entry is EXCLUDED, and a directory with all below it. A glob is matched as by
/// fnmatch(), '*' crossing '/', with the relative path and with the name alone; one that ends in
/// '/' matches directories only, one that starts with '/' the path only.
/// A glob that matches nothing is a warning (by its number: a glob may name a patient).
/// `root` becomes the directory that the paths are relative to.
/// Throws Error(no_input) where root does not exist or cannot be opened.
std::vector<FileEntry> list_files(std::filesystem::path& root, const WalkOptions& options);

/// List the files of a --masks directory in the same way: NIfTI and NRRD files are USED, by name
/// alone; everything else has its own code. Throws Error(no_input).
std::vector<FileEntry> list_mask_files(std::filesystem::path root, bool follow_links);

/// True for a shadow file of macOS: named ._NAME, with AppleDouble's magic.
bool is_apple_double(const std::filesystem::path& path);

/// The word for a packed file ("zip", "tar", "gzip", ...), by its magic bytes or its name. Office
/// documents and other files that are zip inside are none.
std::optional<std::string> archive_kind(const std::filesystem::path& path);

/// Why a file cannot be read now.
struct ReadFailure {
  std::string why;             ///< empty where it can
  bool system_failed = false;  ///< FileEntry::system_failed
};
/// Try to read a file's first and last byte, or the whole file.
ReadFailure read_failure(const std::filesystem::path& path, bool whole = false);

}  // namespace wsp
