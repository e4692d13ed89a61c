#include "train/model/safetensors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"
#include "io/core/tensor_header.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::size_t kLengthBytes = 8;

struct NamedType {
  const char* name;
  torch::ScalarType type;
};

constexpr std::array<NamedType, 10> kTypes = {{{"F64", torch::kDouble},
                                               {"F32", torch::kFloat},
                                               {"F16", torch::kHalf},
                                               {"BF16", torch::kBFloat16},
                                               {"I64", torch::kLong},
                                               {"I32", torch::kInt},
                                               {"I16", torch::kShort},
                                               {"I8", torch::kChar},
                                               {"U8", torch::kByte},
                                               {"BOOL", torch::kBool}}};

torch::ScalarType type_of(const std::string& dtype) {
  for (const auto& [name, type] : kTypes)
    if (dtype == name) return type;
  throw Error(ErrorCode::corrupt, "unknown dtype " + dtype);
}

std::string name_of(const std::string& tensor, torch::ScalarType type) {
  for (const auto& [name, scalar] : kTypes)
    if (type == scalar) return name;
  throw Error(ErrorCode::usage, "tensor '" + tensor + "' has type " + torch::toString(type) +
                                    ", which the file format does not know");
}

/// A file opened for reading whose size was taken once.
class Input {
 public:
  explicit Input(const fs::path& path) {
    fd_.value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_.value < 0) fail("open");
    struct stat info {};
    if (::fstat(fd_.value, &info) != 0) fail("examine");
    if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::failure, "not a regular file");
    size_ = static_cast<std::uint64_t>(info.st_size);
  }
  [[nodiscard]] std::uint64_t size() const { return size_; }

  void read(std::span<std::uint8_t> into) {
    while (!into.empty()) {
      const auto count =
          ::read(fd_.value, into.data(), std::min<std::size_t>(into.size(), 1U << 30));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("read");
      if (count == 0) throw Error(ErrorCode::corrupt, "the file became shorter while it was read");
      into = into.subspan(static_cast<std::size_t>(count));
    }
  }

 private:
  // A member of its own, so that it is closed too where the constructor throws.
  struct Descriptor {
    int value = -1;
    Descriptor() = default;
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
      if (value >= 0) ::close(value);
    }
  };

  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorCode::failure,
                std::string("cannot ") + what + " the file: " + std::strerror(errno));
  }

  Descriptor fd_;
  std::uint64_t size_ = 0;
};

std::span<std::uint8_t> bytes_of_tensor(const torch::Tensor& tensor) {
  // The pointer of an empty tensor may be null.
  return {static_cast<std::uint8_t*>(tensor.data_ptr()), tensor.nbytes()};
}

/// A file of another program, or of an earlier version, is taken; each is told once.
void tell_unhashed(const fs::path& path) {
  static std::mutex mutex;
  static std::set<fs::path> told;
  const std::lock_guard lock(mutex);
  if (told.insert(path).second)
    log::info(path.string() + " carries no hash of its contents: damage in it cannot be seen");
}

TensorFile read_checked(const fs::path& path, bool require_hash) {
  Input input(path);
  if (input.size() < kLengthBytes)
    throw Error(ErrorCode::corrupt, "a file of " + std::to_string(input.size()) +
                                        " bytes is too short for safetensors");
  std::array<std::uint8_t, kLengthBytes> length_bytes{};
  input.read(length_bytes);
  const auto length = std::bit_cast<std::uint64_t>(length_bytes);
  const std::uint64_t rest = input.size() - kLengthBytes;
  if (length > std::min(kLargestHeader, rest))
    throw Error(ErrorCode::corrupt, "a header of " + std::to_string(length) +
                                        " bytes is announced in a file of " +
                                        std::to_string(input.size()));
  std::string text(static_cast<std::size_t>(length), '\0');
  input.read({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  TensorHeader header = parse_tensor_header(text, rest - length);
  const auto stored = take_hash(header, text);
  if (!stored && require_hash)
    throw Error(ErrorCode::corrupt,
                "it has no " + std::string(kHashKey) + ": damaged, or not written as a checkpoint");
  Sha256 hash;
  if (stored) {
    text.replace(stored->position, kHashDigits, kHashDigits, '0');
    hash.update(std::span<const std::uint8_t>(length_bytes));
    hash.update(text);
  }
  TensorFile file;
  file.metadata = std::move(header.metadata);
  for (TensorEntry& entry : header.entries) {
    torch::Tensor tensor = torch::empty(entry.shape, type_of(entry.dtype));
    const auto bytes = bytes_of_tensor(tensor);
    input.read(bytes);
    if (stored) hash.update(std::span<const std::uint8_t>(bytes));
    if (entry.dtype == "BOOL" &&
        std::any_of(bytes.begin(), bytes.end(), [](std::uint8_t value) { return value > 1; }))
      throw Error(ErrorCode::corrupt,
                  "'" + entry.name + "' is BOOL but holds other bytes than 0, 1");
    file.tensors.emplace(std::move(entry.name), std::move(tensor));
  }
  if (!stored) tell_unhashed(path);
  if (stored && hex(hash.finish()) != stored->digits)
    throw Error(ErrorCode::corrupt, "its SHA-256 is not the one that it was written with: damaged");
  return file;
}

/// Lay the tensors out, larger elements first so that every one is aligned, then by name.
TensorHeader layout(const std::map<std::string, torch::Tensor>& tensors) {
  TensorHeader header;
  for (const auto& [name, tensor] : tensors)
    header.entries.push_back({name, name_of(name, tensor.scalar_type()), tensor.sizes().vec()});
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const TensorEntry& a, const TensorEntry& b) {
                     return element_size(a.dtype) > element_size(b.dtype);
                   });
  std::uint64_t at = 0;
  for (TensorEntry& entry : header.entries) {
    entry.begin = at;
    entry.end = at += tensors.at(entry.name).nbytes();
  }
  return header;
}

std::vector<std::uint8_t> serialise(const TensorFile& file, bool hashed) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, tensor] : file.tensors) {
    if (!tensor.defined()) throw Error(ErrorCode::failure, "tensor '" + name + "' is undefined");
    tensors[name] = tensor.detach().to(torch::kCPU).contiguous();
  }
  TensorHeader header = layout(tensors);
  header.metadata = file.metadata;
  header.metadata.erase(std::string(kHashKey));
  const std::string zeros(kHashDigits, '0');
  if (hashed) header.metadata[std::string(kHashKey)] = zeros;
  const std::string text = write_tensor_header(header);
  if (text.size() > kLargestHeader)
    throw Error(ErrorCode::usage, "the names and metadata take more than the format allows");

  const auto length = std::bit_cast<std::array<std::uint8_t, kLengthBytes>>(
      static_cast<std::uint64_t>(text.size()));
  const std::uint64_t data = header.entries.empty() ? 0 : header.entries.back().end;
  std::vector<std::uint8_t> bytes;
  bytes.reserve(kLengthBytes + text.size() + data);
  bytes.insert(bytes.end(), length.begin(), length.end());
  bytes.insert(bytes.end(), text.begin(), text.end());
  for (const TensorEntry& entry : header.entries) {
    const auto from = bytes_of_tensor(tensors.at(entry.name));
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
  if (hashed) {
    const std::string digits = hex(sha256(std::span<const std::uint8_t>(bytes)));
    const std::size_t at = kLengthBytes + hash_position(text, zeros);
    std::copy(digits.begin(), digits.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return bytes;
}

}  // namespace

void write_tensor_file(const fs::path& path, const TensorFile& file, bool hashed) {
  try {
    write_file_atomic(path, std::span<const std::uint8_t>(serialise(file, hashed)));
  } catch (Error& error) {
    throw error.within("while writing " + path.string());
  }
}

TensorFile read_tensor_file(const fs::path& path, bool require_hash) {
  try {
    return read_checked(path, require_hash);
  } catch (Error& error) {
    throw error.within("while reading " + path.string());
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::failure, "cannot hold the tensors of " + path.string() + ": " +
                                        error.what_without_backtrace());
  }
}

}  // namespace wsp::train
