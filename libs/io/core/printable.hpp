#pragma once
#include <exception>
#include <span>
#include <string>
#include <string_view>

namespace wsp {

/// True where every byte belongs to well-formed UTF-8 (RFC 3629).
bool is_utf8(std::string_view text);

/// Text of unknown origin (a file name, an argument) as it may stand on a terminal: control
/// characters, direction marks and bytes that are no UTF-8 become \n, \t, \x1b ...; then a
/// backslash is doubled, so that two names stay two. Other text is returned as it is.
std::string printable(std::string_view text);

/// The same for whole messages: keeps line feeds and tabs, and doubles no backslash.
std::string printable_message(std::string_view text);

/// "cannot use the path ...: why" of an error of std::filesystem; empty for any other.
std::string path_failure(const std::exception& error);
/// The same, but a path is told only where it was typed: what lies below it may name a patient.
std::string typed_path_failure(const std::exception& error, std::span<char* const> arguments);

}  // namespace wsp
