#include "io/core/printable.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>

namespace wsp {
namespace {

/// The code point at the start of `text` and its length in bytes; length 0 where it is no UTF-8.
struct CodePoint {
  std::uint32_t value = 0;
  std::size_t length = 0;
};

CodePoint first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
  if (length == 0 || lead > 0xf4 || text.size() < length) return {};
  std::uint32_t value = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {};
    value = value << 6U | (byte(i) & 0x3fU);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  if (value < kLeast[length] || value > 0x10ffff || surrogate) return {};
  return {value, length};
}

bool may_deceive(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x61c;
}

std::string escaped(std::string_view text, std::string_view keep, bool& changed) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    const CodePoint c = first_of(text);
    const std::string_view bytes = text.substr(0, c.length == 0 ? 1 : c.length);
    text.remove_prefix(bytes.size());
    if (c.length != 0 && (!may_deceive(c.value) || keep.find(bytes) != keep.npos)) {
      out += bytes;
      continue;
    }
    changed = true;
    if (bytes == "\n" || bytes == "\t" || bytes == "\r") {
      out += bytes == "\n" ? "\\n" : bytes == "\t" ? "\\t" : "\\r";
      continue;
    }
    for (const char b : bytes) {
      const auto value = static_cast<unsigned char>(b);
      out += {'\\', 'x', kDigits[value >> 4U], kDigits[value & 15U]};
    }
  }
  return out;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = first_of(text).length;
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view text) {
  bool changed = false;
  std::string out = escaped(text, "", changed);
  if (!changed) return out;
  std::string doubled;
  for (const char c : text) doubled += c == '\\' ? std::string("\\\\") : std::string(1, c);
  return escaped(doubled, "", changed);
}

std::string printable_message(std::string_view text) {
  bool changed = false;
  return escaped(text, "\n\t", changed);
}

std::string path_failure(const std::exception& error) {
  const auto* failure = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (failure == nullptr) return "";
  return "cannot use the path " + printable(failure->path1().string()) + ": " +
         failure->code().message();
}

std::string typed_path_failure(const std::exception& error, std::span<char* const> arguments) {
  const auto* failure = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (failure == nullptr) return "";
  const std::string path = failure->path1().string();
  if (std::any_of(arguments.begin(), arguments.end(),
                  [&](const char* argument) { return std::string_view(argument).ends_with(path); }))
    return path_failure(error);
  return "cannot use a path below one that was given: " + failure->code().message();
}

}  // namespace wsp
