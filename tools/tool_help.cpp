#include "tool_help.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <vector>

namespace wsp {
namespace {

constexpr std::size_t kIndent = 28;  // of what is said of an option

std::size_t columns_of_help() {
  constexpr std::size_t kMost = 100, kLeast = 60;
  winsize size{};
  const bool terminal = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return terminal ? std::clamp<std::size_t>(size.ws_col, kLeast, kMost) : kMost;
}

// Lines of at most `width`, broken between words, each but the first behind `indent` spaces.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t width) {
  std::istringstream words(text);
  std::string lines, word;
  std::size_t column = indent;
  while (words >> word) {
    if (column > indent && column + 1 + word.size() > width) {
      lines += "\n" + std::string(indent, ' ');
      column = indent;
    }
    if (column > indent) lines += ' ';
    column += (column > indent ? 1 : 0) + word.size();
    lines += word;
  }
  return lines;
}

std::string entry(const std::string& left, const std::string& text, std::size_t width) {
  std::string line = "  " + left;
  line += line.size() + 2 > kIndent ? "\n" + std::string(kIndent, ' ')
                                    : std::string(kIndent - line.size(), ' ');
  return line + wrapped(text, kIndent, width) + "\n";
}

// Of an option's type as CLI11 writes it, such as "TEXT:{on,off}" or "INT:INT in [0 - 8]".
struct Value {
  std::vector<std::string> words;  ///< those that may be given; empty: any
  std::string name, range;
};
Value value_of(const CLI::Option& option) {
  Value value;
  const std::string type = option.get_type_name();
  const auto colon = type.find(':');
  value.name = type.substr(0, colon);
  if (colon == std::string::npos) return value;
  const std::string check = type.substr(colon + 1);
  if (check.starts_with("{") && check.ends_with("}")) {
    std::istringstream list(check.substr(1, check.size() - 2));
    for (std::string word; std::getline(list, word, ',');) value.words.push_back(word);
  } else if (const auto open = check.find(" in ["); open != std::string::npos) {
    value.range = check.substr(open + 5, check.size() - open - 6);
    if (const auto dash = value.range.find(" - "); dash != std::string::npos)
      value.range.replace(dash, 3, " to ");
  }
  return value;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::string left_of(const CLI::Option& option, bool positional) {
  std::string left = option.get_name(positional, !positional);
  std::replace(left.begin(), left.end(), ',', ' ');
  if (positional || option.get_type_size() == 0) return left;
  const Value value = value_of(option);
  const std::string one = value.words.empty() ? value.name : joined(value.words, "|");
  for (int i = 0; i < std::max(1, std::min(option.get_expected_min(), 4)); ++i) left += " " + one;
  return left;
}

std::string text_of(const CLI::Option& option) {
  std::string text = option.get_description();
  const Value value = value_of(option);
  std::vector<std::string> facts;
  if (option.get_required()) facts.emplace_back("required");
  if (!value.range.empty()) facts.push_back(value.range);
  if (!option.get_default_str().empty() && text.find("default") == std::string::npos)
    facts.push_back("default: " + option.get_default_str());
  for (const CLI::Option* other : option.get_excludes())
    facts.push_back("not with " + other->get_name());
  return facts.empty() ? text : text + " (" + joined(facts, "; ") + ")";
}

std::vector<const CLI::Option*> options_of(const CLI::App& app, bool positional) {
  std::vector<const CLI::Option*> found;
  for (const CLI::Option* option : app.get_options())
    if (option->get_positional() == positional && (positional || option->nonpositional()) &&
        !option->get_group().empty())
      found.push_back(option);
  for (const CLI::App* group :
       app.get_subcommands([](const CLI::App* c) { return c->get_name().empty(); })) {
    const auto inner = options_of(*group, positional);
    found.insert(found.end(), inner.begin(), inner.end());
  }
  return found;
}

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* c) { return !c->get_name().empty(); });
}

std::string roff(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool first = i == 0 || text[i - 1] == '\n';
    if (first && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\')
      out += "\\e";
    else if (text[i] == '-')
      out += "\\-";
    else
      out += text[i];
  }
  return out;
}

void options_page(const CLI::App& app, std::string& page) {
  for (const bool positional : {true, false})
    for (const CLI::Option* option : options_of(app, positional))
      page += ".TP\n\\fB" + roff(left_of(*option, positional)) + "\\fR\n" + roff(text_of(*option)) +
              "\n";
}

std::string function_name(const std::string& tool) {
  std::string name = "_" + tool;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::string> long_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options_of(app, false))
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string bash_completion(const CLI::App& app, const Tool& tool) {
  const std::string common = joined(long_names(app), " ");
  std::vector<std::string> verbs;
  for (const CLI::App* verb : verbs_of(app)) verbs.push_back(verb->get_name());
  std::string words, values;
  const auto choices = [&](const CLI::App& of) {
    for (const CLI::Option* option : options_of(of, false))
      if (const Value value = value_of(*option); !value.words.empty()) {
        const std::string line =
            "    " + option->get_name() + ") words=\"" + joined(value.words, " ") + "\" ;;\n";
        if (values.find(line) == std::string::npos) values += line;
      }
  };
  choices(app);
  for (const CLI::App* verb : verbs_of(app)) {
    choices(*verb);
    words += "    " + verb->get_name() + ") words=\"" + joined(long_names(*verb), " ") + " " +
             common + "\" ;;\n";
  }
  std::string usual = common;
  for (const CLI::App* verb : verbs_of(app))
    if (verb->get_name() == tool.usual_verb) usual = joined(long_names(*verb), " ") + " " + common;
  const std::string name = function_name(tool.name);
  return "# bash completion for " + tool.name + ", made by " + tool.name + " --completion bash\n" +
         name +
         "() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
         "  case $before in\n" +
         values +
         "  esac\n"
         "  if [[ -z $words && $word == -* ]]; then\n"
         "    words=\"" +
         usual +
         "\"\n"
         "    case ${COMP_WORDS[1]} in\n" +
         words +
         "    esac\n"
         "  elif [[ -z $words && $COMP_CWORD == 1 ]]; then\n"
         "    words=\"" +
         joined(verbs, " ") +
         "\"\n"
         "  fi\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -o default -F " +
         name + " " + tool.name + "\n";
}

// A text inside a specification of zsh's _arguments, in single quotes.
std::string zsh(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else if (c == '[' || c == ']' || c == ':' || c == '\\')
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}

std::string zsh_arguments(const CLI::App& app) {
  std::string text;
  for (const CLI::Option* option : options_of(app, false)) {
    const Value value = value_of(*option);
    for (const std::string& name : option->get_lnames()) {
      text += " \\\n      '--" + name + "[" + zsh(option->get_description()) + "]";
      if (option->get_type_size() != 0)
        text += ":" + zsh(value.name) + ":" +
                (value.words.empty() ? "_files" : "(" + joined(value.words, " ") + ")");
      text += "'";
    }
  }
  return text;
}

std::string zsh_completion(const CLI::App& app, const Tool& tool) {
  const std::string common = zsh_arguments(app);
  std::string cases, list, usual;
  for (const CLI::App* verb : verbs_of(app)) {
    const std::string line =
        "_arguments" + zsh_arguments(*verb) + common + " \\\n      '*:file:_files' ;;\n";
    cases += "    " + verb->get_name() + ") " + line;
    list += " '" + verb->get_name() + ":" + zsh(verb->get_description()) + "'";
    if (verb->get_name() == tool.usual_verb) usual = line;
  }
  if (usual.empty()) usual = "_arguments" + common + " \\\n      '*:file:_files' ;;\n";
  const std::string name = function_name(tool.name);
  return "#compdef " + tool.name + "\n# made by " + tool.name + " --completion zsh\n" + name +
         "() {\n"
         "  local -a verbs=(" +
         list +
         " )\n"
         "  if (( CURRENT == 2 )) && (( $#verbs )) && [[ $words[2] != -* ]]; then\n"
         "    _describe verb verbs\n"
         "  fi\n"
         "  case $words[2] in\n" +
         cases + "    *) " + usual +
         "  esac\n"
         "}\n" +
         name + " \"$@\"\n";
}

}  // namespace

// CLI11 moves the options of a group two columns to the right.
HelpFormatter::HelpFormatter() : columns_(columns_of_help() - 2) {}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return entry(left_of(*option, is_positional), text_of(*option), columns_);
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return entry(command->get_name(), command->get_description(), columns_);
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  const std::string text = app->get_description();
  return text.empty() ? text : wrapped(text, 0, columns_) + "\n";
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  std::istringstream footer(app->get_footer());
  std::string text;
  for (std::string line; std::getline(footer, line); text += "\n") {
    if (line.size() <= columns_) {
      text += line;
      continue;
    }
    // A remark behind an example, two columns or more to the right of it, moves below it.
    const std::size_t spaces = std::min(line.find_first_not_of(' '), line.size());
    const std::size_t gap = line.find("  ", spaces);
    text += std::string(spaces, ' ') + wrapped(line.substr(0, gap), spaces + 4, columns_);
    if (gap == std::string::npos) continue;
    text += "\n" + std::string(spaces + 6, ' ') + wrapped(line.substr(gap), spaces + 6, columns_);
  }
  return text.empty() ? text : "\n" + text;
}

std::string man_page(const CLI::App& app, const Tool& tool) {
  std::string page = ".TH " + tool.name + " 1\n.SH NAME\n" + roff(tool.name + " - ") +
                     roff(tool.description) + "\n.SH SYNOPSIS\n";
  const auto verbs = verbs_of(app);
  if (verbs.empty()) page += "\\fB" + roff(tool.name) + "\\fR [OPTIONS] ...\n";
  for (const CLI::App* verb : verbs)
    page += "\\fB" + roff(tool.name + " " + verb->get_name()) + "\\fR [OPTIONS] ...\n.br\n";
  page += ".SH OPTIONS\n";
  options_page(app, page);
  for (const CLI::App* verb : verbs) {
    page += ".SH " + roff(tool.name + " " + verb->get_name()) + "\n" +
            roff(verb->get_description()) + ".\n";
    options_page(*verb, page);
  }
  return page + ".SH NOTES\n.nf\n" + roff(tool.footer) + "\n.fi\n";
}

std::string completion(const CLI::App& app, const Tool& tool, const std::string& shell) {
  return shell == "zsh" ? zsh_completion(app, tool) : bash_completion(app, tool);
}

}  // namespace wsp
