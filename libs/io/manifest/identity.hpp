#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace wsp {

/// The secret under which names become pseudonyms: 32 random bytes, kept as hex in a file of mode
/// 0600.
class SiteKey {
 public:
  /// Read a key; throws Error(usage) when the file is absent, readable by others, or malformed.
  static SiteKey load(const std::filesystem::path& path);
  /// Create a key file (mode 0600, never overwriting) and return it.
  static SiteKey create(const std::filesystem::path& path);
  explicit SiteKey(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
};

enum class IdMode { pseudonym, keep };

/// Turn identifiers of the export into names that may leave it. Pseudonyms are the first 16 (names)
/// or 32 (paths) hex digits of HMAC-SHA-256(site key, kind + NUL + text); with IdMode::keep names
/// are kept, made safe as file names (only [A-Za-z0-9._-]; colliding results get a hash suffix).
/// Thread-safe.
class Naming {
 public:
  Naming(IdMode mode, SiteKey key);
  /// "sub-" + pseudonym of issuer and patient ID.
  [[nodiscard]] std::string subject(std::string_view identity) const;
  /// "case-" + pseudonym of the series UID or file path that makes the case.
  [[nodiscard]] std::string case_name(std::string_view identity) const;
  /// 32 hex digits for the ledger, in both modes: a file's relative path.
  [[nodiscard]] std::string path(std::string_view relative_path) const;
  /// 16 hex digits that tell one site key from another, and nothing else of it.
  [[nodiscard]] std::string key_digest() const;
  [[nodiscard]] IdMode mode() const { return mode_; }

 private:
  IdMode mode_;
  SiteKey key_;
};

}  // namespace wsp
