#pragma once
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "io/core/hash.hpp"
#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"
#include "io/medical/place_counts.hpp"
#include "io/medical/study.hpp"

namespace wsp {

class SavedScan;

struct ScanOptions {
  int min_slices = 10;
  bool reject_tilt = false;
  bool reject_gaps = false;
  std::map<std::string, double> score_weights;  ///< criterion -> factor, 1 where absent
  bool follow_links = false;                    ///< enter directories behind symbolic links
  std::vector<std::string> exclude;             ///< globs of files and directories to leave out
  bool trust_hu = false;  ///< take values for HU that do not prove it: HU_OVERRULED
  /// Bytes of memory that looking at values may take; a series that needs more is TOO_LARGE.
  double memory_bytes = std::numeric_limits<double>::infinity();
  /// Of these, what images may take that were decoded for a look and are kept for read_series().
  std::uint64_t kept_bytes = 0;
  const SavedScan* known = nullptr;  ///< headers that need not be read
  SavedScan* kept = nullptr;         ///< takes the headers of this scan
};

/// Register DCMTK's codecs; call once in main before anything else of this
/// library.
void initialise_medical_io();

/// The same in the process that worker processes are forked from (WorkerPool): loads every
/// character set of DICOM too, each of which is a library of its own.
void prepare_medical_workers();

/// Walk `root` in parallel (oneTBB), read every header, and group the planes into series.
/// Every file has its entry, also what was excluded, packed, or could not be reached (see
/// list_files() in export_walk.hpp). A single file as root is a scan of one file.
/// Throws Error(no_input) only when root does not exist or cannot be listed, Error(interrupted)
/// when a signal asks to stop.
Scan scan_export(const std::filesystem::path& root, const ScanOptions& options);

/// Give up the images that the scan kept (ScanOptions::kept_bytes) but for those of these series.
/// Returns the bytes that stay.
std::uint64_t keep_images_of(Scan& scan, const std::vector<std::size_t>& series);

/// True for what the libraries say of a file whose read fails half-way: that it is cut off, or
/// none.
bool may_be_the_disk(Code code);

/// How to read one series.
struct ReadOptions {
  bool reject_tilt = false;
  bool reject_gaps = false;
  bool hash_files = false;  ///< fill LoadedVolume::file_hashes
  bool keep = false;        ///< the same files will be read again: what was decoded is kept
};

/// The sums that the ledger of real data is checked with: rescaled HU as stored, before windowing.
struct StoredStatistics {
  std::int64_t minimum = 0, maximum = 0;
  std::int64_t sum = 0;  ///< over all voxels, padding as stored (rescaled)
  std::int64_t padding_voxels = 0;
  bool whole = true;  ///< no value of an image file has a fraction
};

/// A volume that was read, with what the case JSON records of it.
struct LoadedVolume {
  Volume volume;
  StoredStatistics stored;
  PlaceCounts counts;
  std::vector<std::size_t> files;            ///< indices into Scan::files that were used
  std::vector<Digest> file_hashes;           ///< SHA-256 of each, where it was asked for
  std::vector<std::size_t> duplicate_files;  ///< same position, same pixels: dropped
  std::vector<std::string>
      sop_instance_uids;  ///< [z] of the returned slices (empty strings when resampled or NIfTI)
};

/// Decode one series of a scan (DICOM, NIfTI or NRRD) into a canonical int16 HU volume.
/// Rescale per slice or frame in float32, rounded half to even, clamped to int16; padding -> -1024.
/// A tilted stack is resampled to an upright grid unless options.reject_tilt. Thread-safe.
Outcome<LoadedVolume> read_series(const Scan& scan, const Series& series,
                                  const ReadOptions& options);

/// Decode every plane and sum the rescaled values as stored, whatever the series' code: also of
/// other modalities and of images without a position, which give no volume. Thread-safe.
Outcome<StoredStatistics> measure_series(const Scan& scan, const Series& series);

}  // namespace wsp
