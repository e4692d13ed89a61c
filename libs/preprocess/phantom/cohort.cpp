#include "preprocess/phantom/cohort.hpp"

#include <cmath>
#include <iterator>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "io/core/progress.hpp"
#include "preprocess/phantom/dicom_write.hpp"
#include "preprocess/phantom/rng.hpp"
#include "preprocess/phantom/subject.hpp"

namespace wsp::phantom {

namespace fs = std::filesystem;

SubjectTruth draw_subject(const CohortOptions& options, int subject) {
  Random random{options.seed, static_cast<std::uint64_t>(subject), 3};
  SubjectTruth truth;
  int score = subject % 4;
  if (!options.balance) {
    // Without --balance: the proportions of the paper's pretraining cohort.
    const double u = random.uniform() * 2799;
    score = u < 1880 ? 0 : u < 1880 + 385 ? 1 : u < 1880 + 385 + 415 ? 2 : 3;
  }
  // The label has the cohort's proportions; the liver is one class off for one subject in eight.
  truth.radiological = score;
  if (random.uniform() < 0.125)
    score = score == 0 ? 1 : score == 3 ? 2 : score + (random.uniform() < 0.5 ? -1 : 1);
  static constexpr int kLowest[4] = {0, 1, 3, 4};
  truth.stage = kLowest[score] + (score < 2 && random.uniform() < 0.4 ? 1 : 0);
  // Biopsies are taken of the ill. F3 and F4 are 19.0 % of the subjects and 78 of 106 METAVIR
  // readings, F4 is 4.6 % and 15 of 49 Ishak readings; the chances below make that so, with METAVIR
  // for 15 % and Ishak for 7 % of all.
  constexpr double kAdvanced = 0.1901, kCirrhosis = 0.0465;
  const double biopsy = random.uniform(), second = random.uniform();
  const bool advanced = truth.stage >= 3, cirrhosis = truth.stage == 4;
  const double metavir = advanced ? 0.15 * 78 / 106 / kAdvanced : 0.15 * 28 / 106 / (1 - kAdvanced);
  const double ishak = cirrhosis ? 0.07 * 15 / 49 / kCirrhosis : 0.07 * 34 / 49 / (1 - kCirrhosis);
  truth.histology = biopsy < (options.balance ? 0.5 : metavir);
  if (second < (options.balance ? 0.25 : ishak)) {
    static constexpr int kIshak[5] = {0, 1, 3, 4, 5};
    truth.ishak = kIshak[truth.stage] +
                  ((truth.stage == 1 || truth.stage == 4) && random.uniform() < 0.5 ? 1 : 0);
  }
  truth.reader = (truth.stage >= 3) != (random.uniform() < 0.15) ? 1 : 0;
  // A stream of its own: what stands above stays what it was. The stages' medians, and a spread
  // that makes neighbours overlap; one subject in six was not measured.
  static constexpr double kMedianKpa[5] = {5, 6.2, 8.1, 11.5, 22};
  Random elastography{options.seed, static_cast<std::uint64_t>(subject), 4};
  const double spread =
      elastography.uniform() + elastography.uniform() + elastography.uniform() - 1.5;
  if (elastography.uniform() >= 1.0 / 6)
    truth.stiffness_kpa = std::round(10 * kMedianKpa[truth.stage] * std::exp(0.6 * spread)) / 10;
  return truth;
}

namespace {

// "7.3"; a number that is not known is an empty cell.
std::string tenths(double value) {
  if (value == 0) return "";
  const auto whole = std::lround(10 * value);
  return std::to_string(whole / 10) + "." + std::to_string(whole % 10);
}

}  // namespace

void make_cohort(const CohortOptions& options) {
  std::error_code ec;
  if (fs::exists(options.out) && !fs::is_empty(options.out, ec)) {
    if (!options.force)
      throw Error(ErrorCode::output, "the output directory " + options.out.string() +
                                         " is not empty; choose another, or add --force");
    for (const char* part : {"export", "truth", "labels.csv", "phi.txt"})
      fs::remove_all(options.out / part, ec);
  }
  for (const char* part : {"export", "truth"}) {
    fs::create_directories(options.out / part, ec);
    if (ec)
      throw Error(ErrorCode::output,
                  "cannot create " + (options.out / part).string() + ": " + ec.message());
  }
  register_encoders();
  Progress progress("phantom", static_cast<std::uint64_t>(options.subjects), "subjects");
  std::vector<std::string> rows(static_cast<std::size_t>(options.subjects));
  std::vector<std::vector<std::string>> identifiers(rows.size());
  std::vector<std::vector<SeriesRecord>> records(rows.size());
  wsp::parallel_loop(0, options.subjects, [&](int i) {
    stop_if_interrupted("the cohort is incomplete: run again with --force to make it anew");
    Subject subject(options, i);
    subject.write();
    const SubjectTruth& t = subject.truth();
    rows[static_cast<std::size_t>(i)] =
        subject.label_key() + "," +
        kRadiologicalWords.at(static_cast<std::size_t>(t.radiological)) + "," +
        (t.histology ? "F" + std::to_string(t.stage) : "") + "," +
        (t.ishak >= 0 ? std::to_string(t.ishak) : "") + "," +
        (t.reader == 1 ? "cirrhotic" : "healthy") + "," + tenths(t.stiffness_kpa) + "\n";
    identifiers[static_cast<std::size_t>(i)] = subject.identifiers();
    records[static_cast<std::size_t>(i)] = subject.records();
    progress.advance();
  });
  std::string labels = "subject,radiological,metavir,ishak,reader,stiffness_kpa\n", phi;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    labels += rows[i];
    for (const std::string& text : identifiers[i]) phi += text + "\n";
  }
  write_file_atomic(options.out / "labels.csv", labels);
  if (!options.hospital) return;
  write_file_atomic(options.out / "phi.txt", phi);
  std::vector<SeriesRecord> all;
  for (auto& of_subject : records)
    std::move(of_subject.begin(), of_subject.end(), std::back_inserter(all));
  write_dicomdir(options.out / "export" / "DICOMDIR", uid_root(options) + ".0", all);
  write_file_atomic(options.out / "export" / "Thumbs.db", std::string_view("\x01\x02junk", 6));
}

}  // namespace wsp::phantom
