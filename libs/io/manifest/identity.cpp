#include "io/manifest/identity.hpp"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstring>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"

namespace wsp {
namespace {

constexpr std::size_t kKeyBytes = 32;

std::string pseudonym(const SiteKey& key, std::string_view kind, std::string_view text,
                      std::size_t digits) {
  std::string message(kind);
  message += '\0';
  message += text;
  return hex(hmac_sha256(key.bytes(), message)).substr(0, digits);
}

// A name that is safe as a file name; what had to change gets a hash, so that names stay distinct.
std::string safe_name(std::string_view text) {
  std::string name;
  for (const char c : text) {
    const bool keep =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    name += keep ? c : '_';
  }
  constexpr std::size_t kLongest = 120;
  if (name == text && !name.empty() && name.size() <= kLongest && name.front() != '.' &&
      name.front() != '-')
    return name;
  if (name.size() > kLongest) name.resize(kLongest);
  if (!name.empty() && (name.front() == '.' || name.front() == '-')) name.front() = '_';
  return name + "-" + hex(sha256(text)).substr(0, 8);
}

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

SiteKey SiteKey::load(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    throw Error(ErrorCode::usage,
                "the site key " + path.string() +
                    " does not exist; create one with --new-site-key, or name the one "
                    "that earlier pseudonyms were made with");
  if ((status.st_mode & 077) != 0)
    throw Error(ErrorCode::usage, "the site key " + path.string() +
                                      " can be read by others; run: chmod 600 " +
                                      shell_quoted(path.string()));
  std::string text = read_file(path);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.pop_back();
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) break;
    bytes.push_back(static_cast<std::uint8_t>(high * 16 + low));
  }
  if (text.size() != 2 * kKeyBytes || bytes.size() != kKeyBytes)
    throw Error(ErrorCode::usage, "the site key " + path.string() +
                                      " is malformed: expected 64 hexadecimal digits on one line");
  return SiteKey(std::move(bytes));
}

SiteKey SiteKey::create(const std::filesystem::path& path) {
  std::vector<std::uint8_t> bytes(kKeyBytes);
  // Up to 256 bytes come whole, once the kernel's generator is seeded.
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw Error(ErrorCode::failure, "the kernel has no randomness for a site key");
  // Of two runs that start together one makes the key, whole, and the other finds it made.
  bool made = false;
  try {
    made = publish_new(path, hex(bytes) + "\n", 0600);
  } catch (const Error& e) {
    throw Error(ErrorCode::output, std::string("cannot create the site key: ") + e.what() +
                                       ". Choose a place that you may write to");
  }
  if (!made)
    throw Error(ErrorCode::usage, "the site key " + path.string() +
                                      " exists already; use it with --site-key (it is never "
                                      "overwritten: pseudonyms would change)");
  return SiteKey(std::move(bytes));
}

Naming::Naming(IdMode mode, SiteKey key) : mode_(mode), key_(std::move(key)) {}

std::string Naming::subject(std::string_view identity) const {
  return mode_ == IdMode::keep ? safe_name(identity)
                               : "sub-" + pseudonym(key_, "subject", identity, 16);
}
std::string Naming::case_name(std::string_view identity) const {
  return mode_ == IdMode::keep ? safe_name(identity)
                               : "case-" + pseudonym(key_, "case", identity, 16);
}
std::string Naming::key_digest() const { return pseudonym(key_, "site key", "", 16); }
std::string Naming::path(std::string_view relative_path) const {
  return pseudonym(key_, "path", relative_path, 32);
}

}  // namespace wsp
