#include "preprocess/pipeline/mask_cache.hpp"

#include <cstring>
#include <limits>
#include <span>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"

namespace wsp {
namespace {

// magic, size x y z, components, cleaned, mean probability, confidence, the refinement's mode,
// spread, agreement, overlap and stability (NaN: none), runs, SHA-256. Runs are lengths of
// background and liver in turn, base 128, the low groups first.
constexpr std::string_view kMagic = "WSPMASK4";
constexpr std::size_t kDigest = 32;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_run(std::string& out, std::uint64_t length) {
  for (; length >= 128; length >>= 7) out.push_back(static_cast<char>((length & 127) | 128));
  out.push_back(static_cast<char>(length));
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  T get() {
    T value{};
    if (bytes_.size() < sizeof value) throw Error(ErrorCode::corrupt, "it is too short");
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }
  std::uint64_t run() {
    std::uint64_t length = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
      const auto group = get<std::uint8_t>();
      length |= std::uint64_t{group & 127U} << shift;
      if (group < 128) return length;
    }
    throw Error(ErrorCode::corrupt, "a run is too long");
  }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

std::optional<double> number(double value) {
  return value == value ? std::optional(value) : std::nullopt;
}

PredictedMask decode(std::string_view bytes, const Geometry& geometry) {
  const auto fail = [](const char* why) { throw Error(ErrorCode::corrupt, why); };
  if (bytes.size() < kMagic.size() + kDigest || !bytes.starts_with(kMagic))
    fail("it is no mask of this cache");
  const std::string_view body = bytes.substr(0, bytes.size() - kDigest);
  const Digest digest = sha256(body);
  if (std::memcmp(digest.data(), bytes.data() + body.size(), kDigest) != 0)
    fail("its hash is another");
  Reader reader(body.substr(kMagic.size()));
  for (const std::int64_t n : geometry.size)
    if (reader.get<std::int64_t>() != n) fail("it lies on another grid");
  PredictedMask result;
  result.components = reader.get<std::int64_t>();
  if (reader.get<std::uint8_t>() != 0) result.mask.flags.push_back(Code::MASK_CLEANED);
  result.mean_probability = number(reader.get<double>());
  result.confidence = number(reader.get<double>());
  const auto mode = reader.get<double>(), spread = reader.get<double>();
  const auto agreement = number(reader.get<double>());
  const auto overlap = reader.get<double>(), stability = reader.get<double>();
  if (agreement) result.refined = RefinedLiver{mode, spread, *agreement, overlap, stability};
  result.mask.geometry = geometry;
  result.mask.voxels.resize(static_cast<std::size_t>(geometry.voxels()));
  std::size_t at = 0;
  for (std::uint8_t value = 0; !reader.empty(); value ^= 1) {
    const std::uint64_t length = reader.run();
    if (length > result.mask.voxels.size() - at) fail("its runs are longer than the grid");
    std::memset(result.mask.voxels.data() + at, value, length);
    at += length;
  }
  if (at != result.mask.voxels.size()) fail("its runs are shorter than the grid");
  return result;
}

}  // namespace

MaskCache::MaskCache(std::filesystem::path directory) : directory_(std::move(directory)) {
  std::error_code ec;
  std::filesystem::create_directories(directory_, ec);
  if (!std::filesystem::is_directory(directory_))
    throw Error(ErrorCode::output, "--mask-cache expects a directory that can be made, found " +
                                       directory_.string() + (ec ? ": " + ec.message() : ""));
}

std::string MaskCache::key(const Volume& volume, const std::string& model_identity) {
  Sha256 hash;
  hash.update(model_identity);
  const Geometry& g = volume.geometry;
  hash.update(bytes_of(std::span<const std::int64_t>(g.size)));
  hash.update(bytes_of(std::span<const double>(g.spacing_mm)));
  hash.update(bytes_of(std::span<const double>(volume.z_mm)));
  hash.update(bytes_of(std::span<const std::int16_t>(volume.hu)));
  return hex(hash.finish());
}

std::filesystem::path MaskCache::path_of(const std::string& key) const {
  return directory_ / (key + ".wspmask");
}

std::optional<PredictedMask> MaskCache::find(const std::string& key,
                                             const Geometry& geometry) const {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path_of(key), ec)) return std::nullopt;
  try {
    return decode(read_file(path_of(key)), geometry);
  } catch (const std::exception& e) {
    log::warn(std::string("a mask of the cache is unusable and is made again: ") + e.what());
    return std::nullopt;
  }
}

void MaskCache::store(const std::string& key, const PredictedMask& predicted) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::string bytes(kMagic);
  for (const std::int64_t n : predicted.mask.geometry.size) put(bytes, n);
  put(bytes, predicted.components);
  put(bytes, static_cast<std::uint8_t>(predicted.mask.flags.empty() ? 0 : 1));
  put(bytes, predicted.mean_probability.value_or(kNone));
  put(bytes, predicted.confidence.value_or(kNone));
  const RefinedLiver refined =
      predicted.refined.value_or(RefinedLiver{kNone, kNone, kNone, kNone, kNone});
  for (const double value :
       {refined.mode_hu, refined.spread_hu, refined.agreement, refined.overlap, refined.stability})
    put(bytes, value);
  std::uint8_t value = 0;
  std::uint64_t run = 0;
  for (const std::uint8_t voxel : predicted.mask.voxels) {
    if (voxel != value) {
      put_run(bytes, run);
      run = 0;
      value = voxel;
    }
    ++run;
  }
  put_run(bytes, run);
  const Digest digest = sha256(bytes);
  bytes.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  const std::scoped_lock lock(one_at_a_time_);
  if (full_) return;
  try {
    write_file_atomic(path_of(key), std::string_view(bytes), 0600);
  } catch (const Error& e) {
    full_ = true;
    log::warn(std::string("predicted masks are not kept for other runs any more: ") + e.what());
  }
}

}  // namespace wsp
