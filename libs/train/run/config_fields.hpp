#pragma once
#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

/// What configurations of trainings share: ranges, names on the command line, differences. No Torch
/// stands here, so that tools need none.
namespace wsp::train {

/// How a field of a recorded configuration is asked for, where that is not "--" and its name with
/// dashes: another option, "--no-NAME" for one that turns it off, or words for what no option
/// gives.
using FieldNames = std::map<std::string, std::string>;

/// Throws Error(usage) "--option is FOUND: expected EXPECTED" unless `good` and finite.
void need(bool good, const char* option, double found, const char* expected);
void need(bool good, const char* option, std::int64_t found, const char* expected);
/// Throws Error(usage) unless `found` is one of `known`.
void one_of(const char* option, const std::string& found, std::initializer_list<const char*> known);
[[noreturn]] void refuse_value(const std::string& option, const std::string& found,
                               const std::string& expected);

/// "--option: was A, is B" for each field in which two recorded configurations differ, as the
/// command line has it.
std::vector<std::string> field_differences(const nlohmann::json& was, const nlohmann::json& is,
                                           const FieldNames& names);
/// The options, by long name without dashes, that give a recorded configuration again; a line of
/// the log names what the command itself gives, such as the dataset. Throws Error(usage) for what
/// no option can give.
nlohmann::json recorded_options(const nlohmann::json& config, const FieldNames& names);

}  // namespace wsp::train
