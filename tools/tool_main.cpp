#include "tool_main.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/printable.hpp"
#include "tool_help.hpp"

namespace wsp {
namespace {

bool is_verb(const CLI::App* command) { return !command->get_name().empty(); }

// --config FILE.json: {"option": value, "verb": {"option": value}}, or what a run recorded; the
// command line wins. Underscores are dashes. What stands outside a verb is meant for the one in
// use; what only others take is left to them.
class JsonConfig : public CLI::Config {
 public:
  JsonConfig(const CLI::App& app, const Tool& tool) : app_(app), tool_(tool) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return "{}"; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    try {
      nlohmann::json object = nlohmann::json::parse(input);
      if (!object.is_object()) throw CLI::ConversionError("--config must hold a JSON object");
      if (tool_.recorded)
        if (auto options = tool_.recorded(object)) object = std::move(*options);
      std::vector<CLI::ConfigItem> found;
      for (const auto& [name, value] : object.items()) {
        if (!value.is_object())
          add(app_, with_dashes(name), value, found);
        else
          for (const auto& [inner, of_verb] : value.items())
            add_to(verb(name, inner), with_dashes(inner), of_verb, found);
      }
      return found;
    } catch (const nlohmann::json::exception& e) {
      throw CLI::ConversionError(std::string("--config is not valid JSON: ") + e.what());
    } catch (const Error& e) {
      throw CLI::ConversionError(e.what());
    }
  }

 private:
  static std::string with_dashes(std::string name) {
    std::replace(name.begin(), name.end(), '_', '-');
    return name;
  }
  static bool takes(const CLI::App& app, const std::string& name) {
    return app.get_option_no_throw("--" + name) != nullptr;
  }
  // CLI11's own message names neither the file nor what it expects.
  [[noreturn]] static void refuse(const std::string& name) {
    throw CLI::ConversionError(
        "--config names '" + name +
        "', which is no option; expected long names without dashes, such as {\"threads\": 2} "
        "(see --help)");
  }
  const CLI::App& verb(const std::string& name, const std::string& inner) const {
    const auto found =
        app_.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
    if (found.empty()) refuse(name + "/" + inner);
    return *found.front();
  }
  static std::string text(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : json_text(value);
  }
  void add(const CLI::App& app, const std::string& name, const nlohmann::json& value,
           std::vector<CLI::ConfigItem>& found) const {
    if (takes(app, name)) return add_to(app, name, value, found);
    bool known = false;
    for (const CLI::App* command : app_.get_subcommands(is_verb)) {
      if (!takes(*command, name)) continue;
      known = true;
      if (command->parsed()) add_to(*command, name, value, found);
    }
    if (!known) refuse(name);
  }
  void add_to(const CLI::App& app, const std::string& name, const nlohmann::json& value,
              std::vector<CLI::ConfigItem>& found) const {
    CLI::ConfigItem item;
    if (&app != &app_) item.parents = {app.get_name()};
    if (!takes(app, name) || value.is_object())
      refuse((item.parents.empty() ? "" : app.get_name() + "/") + name);
    if (value.is_array() && value.empty()) return;  // CLI11 takes none for one too few
    item.name = name;
    if (value.is_array())
      for (const auto& element : value) item.inputs.push_back(text(element));
    else
      item.inputs = {text(value)};
    found.push_back(std::move(item));
  }

  const CLI::App& app_;
  const Tool& tool_;
};

// The command line with the usual verb, where it names none: after the common options comes a verb
// or what the usual one takes.
std::vector<std::string> with_verb(const CLI::App& app, std::vector<std::string> words,
                                   const std::string& usual) {
  std::size_t at = 0;
  while (at < words.size()) {
    const CLI::Option* common = app.get_option_no_throw(words[at].substr(0, words[at].find('=')));
    if (common == nullptr) break;
    if (common->get_name() == "--help" || common->get_name() == "--version") return words;
    const bool apart = common->get_expected_min() > 0 && words[at].find('=') == std::string::npos;
    at += apart ? 2 : 1;
  }
  if (at >= words.size()) return words;
  const auto verbs = app.get_subcommands(is_verb);
  if (std::none_of(verbs.begin(), verbs.end(),
                   [&](const CLI::App* command) { return command->get_name() == words[at]; }))
    words.insert(words.begin(), usual);
  return words;
}

// CLI11 says that one is required, but neither which there are nor what stood in its place.
int refuse_subcommand(const CLI::App& app) {
  std::string known, given;
  for (const CLI::App* command : app.get_subcommands(is_verb))
    known += (known.empty() ? "" : ", ") + command->get_name();
  for (const std::string& word : app.remaining())
    if (given.empty() && !word.starts_with("-")) given = word;
  std::fprintf(stderr, "%s: %s: expected one of %s (see --help)\n", app.get_name().c_str(),
               given.empty() ? "a subcommand is required"
                             : ("'" + printable(given) + "' is no subcommand").c_str(),
               known.c_str());
  return exit_code(ErrorCode::usage);
}

// --man and --completion: no verb and no file is asked for.
bool say_of_itself(const CLI::App& app, const Tool& tool, const std::vector<std::string>& words) {
  if (words == std::vector<std::string>{"--man"})
    std::cout << man_page(app, tool) << std::flush;
  else if (words.size() == 2 && words[0] == "--completion" &&
           (words[1] == "bash" || words[1] == "zsh"))
    std::cout << completion(app, tool, words[1]) << std::flush;
  else
    return false;
  return true;
}

// A core dump would hold pixels, names and the site key.
void refuse_core_dumps() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);  // where the kernel pipes dumps to a program, the limit is not asked
}

// Help and version on stdout; errors, which repeat what was typed, on stderr.
int show(const CLI::App& app, const CLI::ParseError& e) {
  std::ostringstream out, error;
  const int code = app.exit(e, out, error);
  std::cout << out.str() << std::flush;
  std::cerr << printable_message(error.str());
  return code == 0 ? 0 : exit_code(ErrorCode::usage);
}

// CLI11 lists what it did not expect, but not of whom.
int refuse_extras(const CLI::App& app, const CLI::ExtrasError& e) {
  const auto verbs = app.get_subcommands();
  const auto words = app.remaining(true);
  if (verbs.empty() || words.empty()) return show(app, e);
  const std::string command = app.get_name() + " " + verbs.front()->get_name();
  const std::string word = printable(words.front());
  std::fprintf(stderr, "%s takes no %s (see %s --help)\n", command.c_str(),
               (word.starts_with("-") ? word : "'" + word + "'").c_str(), command.c_str());
  return exit_code(ErrorCode::usage);
}

}  // namespace

void warn_of_earlier(const std::string& before, const std::string& now) {
  log::warn(before + " is called " + now + " now; the next version takes " + now + " alone");
}

int tool_main(int argc, char** argv, const Tool& tool) {
  CLI::App app(tool.description, tool.name);
  CommonOptions common;
  app.set_version_flag("--version", tool.name + " " WSP_VERSION);
  app.footer(tool.footer);
  app.formatter(std::make_shared<HelpFormatter>());
  bool man = false;
  std::string shell;
  app.add_flag("--man", man, "Print a page for man(1)");
  app.add_option("--completion", shell, "Print completion of this command for a shell")
      ->check(CLI::IsMember({"bash", "zsh"}));
  app.add_option("--threads", common.threads, "Worker threads; 0 uses all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--seed", common.seed, "Seed of everything random")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log-level", common.log_level, "trace, debug, info, warn, error or off")
      ->capture_default_str();
  app.add_flag("--json", common.json, "Print a machine-readable result on stdout");
  app.config_formatter(std::make_shared<JsonConfig>(app, tool));
  app.set_config("--config", "", "Read options from a JSON file; the command line wins")
      ->check([](const std::string& path) -> std::string {
        std::error_code ec;  // a FIFO would wait for a writer
        return std::filesystem::is_regular_file(path, ec) ? "" : "no such file: " + path;
      });
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.fallthrough();
  try {
    tool.declare(app);
    // A subcommand takes the common options too, and its help should not hide them.
    for (CLI::App* command : app.get_subcommands([](CLI::App* c) { return is_verb(c); }))
      command->footer(
          "Also: --json  --threads N  --seed N  --log-level LEVEL  --config FILE  (see " +
          tool.name + " --help)");
    std::vector<std::string> words(argv + 1, argv + argc);
    if (!tool.usual_verb.empty()) words = with_verb(app, std::move(words), tool.usual_verb);
    std::reverse(words.begin(), words.end());  // as CLI11 takes them
    if (say_of_itself(app, tool, {argv + 1, argv + argc})) return 0;
    app.parse(std::move(words));
  } catch (const CLI::RequiredError& e) {
    if (app.get_require_subcommand_min() > 0 && app.get_subcommands().empty())
      return refuse_subcommand(app);
    return show(app, e);
  } catch (const CLI::ExtrasError& e) {
    return refuse_extras(app, e);
  } catch (const CLI::ParseError& e) {
    return show(app, e);
  }
  try {
    log::configure(common.log_level);
    refuse_core_dumps();
    install_interrupt_handlers();
    const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    if (common.threads == 0) common.threads = cores;
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(common.threads));
    const int code = tool.run(common);
    // A result that did not arrive is none.
    if (!std::cout.flush() || std::fflush(stdout) != 0)
      throw Error(ErrorCode::output, std::string("the result could not be written to stdout: ") +
                                         std::strerror(errno));
    return code;
  } catch (const Error& e) {
    log::error(e.what());
    if (e.code() == ErrorCode::interrupted && interrupt_signal() != 0)
      return 128 + interrupt_signal();
    return exit_code(e.code());
  } catch (const std::bad_alloc&) {
    log::error(
        "out of memory: use fewer --threads, or options that hold less at once (see --help)");
    return exit_code(ErrorCode::failure);
  } catch (const std::exception& e) {
    const std::string path = typed_path_failure(e, {argv + 1, argv + argc});
    log::error(path.empty() ? std::string("unexpected failure: ") + e.what() : path);
    return exit_code(ErrorCode::failure);
  }
}

}  // namespace wsp
