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

namespace wsp {
namespace {

// --config FILE.json: {"option": value, "subcommand": {"option": value}}; command line wins.
class JsonConfig : public CLI::Config {
 public:
  explicit JsonConfig(const CLI::App& app) : app_(app) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return "{}"; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    try {
      std::vector<CLI::ConfigItem> found;
      flatten(nlohmann::json::parse(input), {}, found);
      for (const CLI::ConfigItem& item : found) check_name(item);
      return found;
    } catch (const nlohmann::json::exception& e) {
      throw CLI::ConversionError(std::string("--config is not valid JSON: ") + e.what());
    }
  }

 private:
  // CLI11's own message names neither the file nor what it expects.
  void check_name(const CLI::ConfigItem& item) const {
    const CLI::App* owner = &app_;
    std::string name;
    for (const std::string& parent : item.parents) {
      name += parent + "/";
      const auto below = owner->get_subcommands(
          [&](const CLI::App* command) { return command->get_name() == parent; });
      owner = below.empty() ? nullptr : below.front();
      if (owner == nullptr) break;
    }
    if (owner == nullptr || owner->get_option_no_throw("--" + item.name) == nullptr)
      throw CLI::ConversionError(
          "--config names '" + name + item.name +
          "', which is no option; expected long names without dashes, such as {\"threads\": 2} "
          "(see --help)");
  }
  static std::string text(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : json_text(value);
  }
  static void flatten(const nlohmann::json& object, const std::vector<std::string>& parents,
                      std::vector<CLI::ConfigItem>& items) {
    if (!object.is_object()) throw CLI::ConversionError("--config must hold a JSON object");
    for (const auto& [name, value] : object.items()) {
      if (value.is_object()) {
        auto below = parents;
        below.push_back(name);
        flatten(value, below, items);
        continue;
      }
      CLI::ConfigItem item;
      item.parents = parents;
      item.name = name;
      if (value.is_array())
        for (const auto& element : value) item.inputs.push_back(text(element));
      else
        item.inputs = {text(value)};
      items.push_back(std::move(item));
    }
  }

  const CLI::App& app_;
};

// CLI11 says that one is required, but neither which there are nor what stood in its place.
int refuse_subcommand(const CLI::App& app) {
  std::string known, given;
  for (const CLI::App* command :
       app.get_subcommands([](const CLI::App* c) { return !c->get_name().empty(); }))
    known += (known.empty() ? "" : ", ") + command->get_name();
  for (const std::string& word : app.remaining())
    if (given.empty() && !word.starts_with("-")) given = word;
  std::fprintf(stderr, "%s: %s: expected one of %s (see --help)\n", app.get_name().c_str(),
               given.empty() ? "a subcommand is required"
                             : ("'" + printable(given) + "' is no subcommand").c_str(),
               known.c_str());
  return exit_code(ErrorCode::usage);
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

}  // namespace

int tool_main(int argc, char** argv, const Tool& tool) {
  CLI::App app(tool.description, tool.name);
  CommonOptions common;
  app.set_version_flag("--version", tool.name + " " WSP_VERSION);
  app.footer(tool.footer);
  app.add_option("--threads", common.threads, "Worker threads; 0 uses all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--seed", common.seed, "Seed of everything random")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log-level", common.log_level, "trace, debug, info, warn, error or off")
      ->capture_default_str();
  app.add_flag("--json", common.json, "Print a machine-readable result on stdout");
  app.config_formatter(std::make_shared<JsonConfig>(app));
  app.set_config("--config", "", "Read options from a JSON file; the command line wins")
      ->check([](const std::string& path) -> std::string {
        std::error_code ec;  // a FIFO would wait for a writer
        return std::filesystem::is_regular_file(path, ec) ? "" : "--config: no such file: " + path;
      });
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.fallthrough();
  try {
    tool.declare(app);
    // A subcommand takes the common options too, and its help should not hide them.
    for (CLI::App* command :
         app.get_subcommands([](const CLI::App* c) { return !c->get_name().empty(); }))
      command->footer(
          "Also: --json  --threads N  --seed N  --log-level LEVEL  --config FILE  (see " +
          tool.name + " --help)");
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& e) {
    if (app.get_require_subcommand_min() > 0 && app.get_subcommands().empty())
      return refuse_subcommand(app);
    return show(app, e);
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
