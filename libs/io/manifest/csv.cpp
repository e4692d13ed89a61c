#include "io/manifest/csv.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"

namespace wsp {
namespace {

// Position of the first byte that is no UTF-8 (RFC 3629: no overlong forms, no surrogates), or
// npos.
std::size_t find_invalid_utf8(const std::string& text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    std::size_t more = 0;
    unsigned low = 0x80, high = 0xBF;  // what the second byte may be
    if (lead >= 0xC2 && lead <= 0xDF) more = 1;
    if (lead >= 0xE0 && lead <= 0xEF) more = 2;
    if (lead >= 0xF0 && lead <= 0xF4) more = 3;
    if (lead >= 0x80 && more == 0) return i;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (std::size_t k = 1; k <= more; ++k) {
      if (byte(i + k) < low || byte(i + k) > high) return i;
      low = 0x80;
      high = 0xBF;
    }
    i += more + 1;
  }
  return std::string::npos;
}

std::string trimmed_cell(const std::string& cell) {
  const auto first = cell.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return cell.substr(first, cell.find_last_not_of(" \t\r\n") - first + 1);
}

// The header decides: whichever separator it has most outside quotes.
char separator_of(const std::string& text) {
  constexpr std::array<char, 3> kSeparators{',', ';', '\t'};
  std::array<int, 3> counts{};
  bool quoted = false;
  for (std::size_t i = text.find_first_not_of("\r\n"); i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted) continue;
    if (text[i] == '\n' || text[i] == '\r') break;
    for (std::size_t k = 0; k < kSeparators.size(); ++k)
      if (text[i] == kSeparators[k]) ++counts[k];
  }
  return kSeparators[static_cast<std::size_t>(std::max_element(counts.begin(), counts.end()) -
                                              counts.begin())];
}

class Parser {
 public:
  Parser(const std::string& text, const std::string& file)
      : text_(text), file_(file), separator_(separator_of(text)) {}

  CsvTable run() {
    for (std::size_t i = 0; i < text_.size(); ++i) i = step(i);
    if (state_ == State::quoted)
      fail(opened_, "a quote (\") is opened and not closed; expected \"...\", with \"\" inside");
    if (state_ != State::start || !row_.empty() || !cell_.empty()) end_row();
    if (table_.header.empty())
      throw Error(ErrorCode::usage, file_ + " is empty; expected a header row");
    return std::move(table_);
  }

 private:
  enum class State { start, plain, quoted, closed };  // of the cell in hand

  [[noreturn]] void fail(std::size_t line, const std::string& what) const {
    throw Error(
        ErrorCode::usage,
        file_ + ", " +
            (table_.header.empty() ? "header" : "row " + std::to_string(table_.rows.size() + 1)) +
            " (line " + std::to_string(line) + " of the file): " + what);
  }

  // Consume the character at i; returns the last position that was consumed.
  std::size_t step(std::size_t i) {
    const char c = text_[i];
    const bool doubled = i + 1 < text_.size() && text_[i + 1] == '"';
    const bool windows_end = c == '\r' && i + 1 < text_.size() && text_[i + 1] == '\n';
    if (c == '\n' || (c == '\r' && !windows_end)) ++line_;
    if (state_ == State::quoted) {
      if (c != '"') {
        cell_ += c;
      } else if (doubled) {
        cell_ += '"';
        return i + 1;
      } else {
        state_ = State::closed;
      }
      return i;
    }
    if (windows_end) return i;
    if (c == separator_) {
      end_cell();
    } else if (c == '\n' || c == '\r') {
      end_row();
      begin_ = line_;
    } else if (c == '"' && state_ == State::start) {
      state_ = State::quoted;
      opened_ = line_;
    } else if (c == ' ' || c == '\t') {
      if (state_ == State::plain) cell_ += c;
    } else if (state_ == State::closed) {
      fail(line_, "text follows a closing quote (\"); write a quote inside a cell as \"\"");
    } else {
      state_ = State::plain;
      cell_ += c;
    }
    return i;
  }

  void end_cell() {
    row_.push_back(trimmed_cell(cell_));
    cell_.clear();
    state_ = State::start;
  }

  void end_row() {
    end_cell();
    const bool blank =
        std::all_of(row_.begin(), row_.end(), [](const auto& c) { return c.empty(); });
    if (!blank && table_.header.empty()) {
      table_.header = row_;
    } else if (!blank) {
      if (row_.size() != table_.header.size())
        fail(begin_, "found " + std::to_string(row_.size()) + " cells, expected " +
                         std::to_string(table_.header.size()) +
                         " as in the header; quote cells that hold the separator '" +
                         (separator_ == '\t' ? std::string("tab") : std::string(1, separator_)) +
                         "'");
      table_.rows.push_back(row_);
      table_.lines.push_back(begin_);
    }
    row_.clear();
  }

  const std::string& text_;
  const std::string& file_;
  char separator_;
  CsvTable table_;
  std::vector<std::string> row_;
  std::string cell_;
  State state_ = State::start;
  std::size_t line_ = 1, begin_ = 1, opened_ = 1;
};

}  // namespace

std::string CsvTable::place(std::size_t row) const {
  return "row " + std::to_string(row + 1) + " (line " + std::to_string(lines.at(row)) +
         " of the file)";
}

CsvTable parse_csv(std::string text, const std::string& file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  const std::size_t bad = std::min(text.find('\0'), find_invalid_utf8(text));
  if (bad != std::string::npos) {
    const auto line =
        std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    throw Error(ErrorCode::usage,
                file + ", line " + std::to_string(line + 1) +
                    ": found a byte that is no UTF-8 text; expected a table saved "
                    "as CSV in UTF-8 (a spreadsheet file itself is not read)");
  }
  return Parser(text, file).run();
}

CsvTable read_label_table(const std::filesystem::path& path) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec))
    throw Error(ErrorCode::usage, "expected the label table (a CSV file) at " + path.string() +
                                      ", found " +
                                      (std::filesystem::exists(path, ec) ? "no file" : "nothing"));
  return parse_csv(read_file(path), path.string());
}

std::string known_column(const std::string& name) {
  static const std::map<std::string, std::vector<std::string>> names{
      {"patient_id",
       {"patientid", "patient", "patid", "pid", "patno", "patientno", "patientnumber", "patnr",
        "patientennummer", "patientenid", "mrn", "subject", "subjectid", "sub", "case", "caseid",
        "participant", "participantid", "id"}},
      {"accession", {"accession", "accessionnumber", "accno", "accessionno"}},
      {"study_uid", {"studyinstanceuid", "studyuid", "study"}},
      {"series_uid", {"seriesinstanceuid", "seriesuid", "series"}},
      {"path", {"path", "file", "filename", "filepath", "image", "volume", "scan", "ctfile"}},
      {"label",
       {"label", "score", "class", "grade", "stage", "metavir", "ishak", "fibrosis",
        "fibrosisstage", "fibrosisscore", "radiologicalscore", "radiological", "steatosis",
        "cirrhosis", "histology", "diagnosis", "target", "severity", "rating"}},
      {"split", {"split", "fold", "partition", "subset"}},
      {"other", {"age",         "sex",          "gender",   "alter",     "geschlecht", "birthdate",
                 "dob",         "geburtsdatum", "date",     "studydate", "datum",      "name",
                 "patientname", "comment",      "comments", "bemerkung", "site",       "bmi",
                 "scanner",     "phase",        "reader",   "mask"}}};
  std::string word;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [kind, words] : names)
    if (std::find(words.begin(), words.end(), word) != words.end()) return kind;
  return "";
}

bool has_header(const CsvTable& table, const std::vector<std::string>& expected) {
  return std::any_of(table.header.begin(), table.header.end(), [&](const std::string& cell) {
    const std::string kind = known_column(cell);
    // Words for a label may stand in a cell too: "cirrhosis".
    const bool names_cases = !kind.empty() && kind != "label" && kind != "split" && kind != "other";
    return names_cases ||
           (!cell.empty() && std::find(expected.begin(), expected.end(), cell) != expected.end());
  });
}

std::string quoted(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "'" : ", '") + word + "'";
  return text;
}

}  // namespace wsp
