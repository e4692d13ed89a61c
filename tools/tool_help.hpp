#pragma once
#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

#include "tool_main.hpp"

/// What a command line says of itself, all from the declarations of its options.
namespace wsp {

/// --help in at most 100 columns, fewer in a narrower terminal.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;

 private:
  std::size_t columns_;
};

/// A page for man(1), section 1.
std::string man_page(const CLI::App& app, const Tool& tool);
/// Completion of verbs, options and their words for "bash" or "zsh".
std::string completion(const CLI::App& app, const Tool& tool, const std::string& shell);

}  // namespace wsp
