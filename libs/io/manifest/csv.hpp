#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace wsp {

/// A parsed table. Rows whose cells are all empty (spreadsheets leave them at the end) are dropped.
struct CsvTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< each as long as the header; cells trimmed
  std::vector<std::size_t> lines;              ///< line of the file on which each row begins

  /// "row 2 (line 4 of the file)" for messages.
  [[nodiscard]] std::string place(std::size_t row) const;
};

/// Parse RFC 4180 text, with or without BOM, lines ended by LF, CRLF or CR, separated by comma,
/// semicolon or tab (whichever the header has most). `file` stands in messages. Throws Error(usage)
/// for a ragged row, a quote that is left open or closed early, NUL, or bytes that are no UTF-8.
CsvTable parse_csv(std::string text, const std::string& file);
/// The same of a label table's file; throws Error(usage) where there is none.
CsvTable read_label_table(const std::filesystem::path& path);

/// What a column's name says that it holds, for well-known names in any case and spelling
/// ("PatientID", "patient_id", "MRN" -> "patient_id"; "METAVIR", "score" -> "label"; "" where
/// nothing is known): patient_id, accession, study_uid, series_uid, path, label, split or other.
std::string known_column(const std::string& name);

/// True where the first row is a header and no data: one of its cells is among `expected`, or is
/// a well-known name for what names a case. Only then may a message repeat it.
bool has_header(const CsvTable& table, const std::vector<std::string>& expected);

/// 'a', 'b'
std::string quoted(const std::vector<std::string>& words);

}  // namespace wsp
