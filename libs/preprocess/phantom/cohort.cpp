#include "preprocess/phantom/cohort.hpp"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <array>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/progress.hpp"
#include "io/medical/image_file.hpp"
#include "preprocess/phantom/dicom_write.hpp"
#include "preprocess/phantom/rng.hpp"

namespace wsp::phantom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWords[4] = {"none", "mild", "moderate", "severe"};
constexpr double kPi = 3.14159265358979323846;
const std::string kRoot = "1.2.826.0.1.3680043.10.1234.";

std::string marker(Random& random) {
  static constexpr char kLetters[] = "BCDFGHJKLMNPQRSTVWXZ";
  std::string text;
  for (int i = 0; i < 10; ++i) text += kLetters[random.below(20)];
  return text;
}

// One patient of the cohort, written out.
class Subject {
 public:
  Subject(const CohortOptions& options, int number)
      : options_(options),
        number_(number),
        truth_(draw_subject(options, number)),
        random_({options.seed, static_cast<std::uint64_t>(number), 2}),
        anatomy_(draw_anatomy(options.seed, static_cast<std::uint64_t>(number), truth_.stage)) {
    secret_ = options.hospital ? marker(random_) : "";
    id_ = options.hospital ? "PID" + marker(random_) : fmt::format("subject-{:04d}", number);
    name_ = options.hospital ? "Zz" + marker(random_) : "phantom";
    if (!options.hospital) return;
    accession_ = "AC" + marker(random_);
    birth_date_ = fmt::format("{}{:02d}{:02d}", 1931 + random_.below(60), 1 + random_.below(12),
                              1 + random_.below(28));
    study_date_ = fmt::format("{}{:02d}{:02d}", 2009 + random_.below(12), 1 + random_.below(12),
                              1 + random_.below(28));
  }

  void write() {
    Stack portal = portal_stack();
    SeriesHeader header = header_of("PORTAL VENOUS ABD", 2, 70);
    header.is_unsigned = number_ % 2 == 1;
    if (options_.nifti) return write_nifti_case(portal);
    if (!options_.hospital)
      return write_series(fmt::format("sub-{:04d}/portal", number_), header, portal, true);
    write_hospital(portal, header);
  }

  [[nodiscard]] const SubjectTruth& truth() const { return truth_; }
  [[nodiscard]] std::string label_key() const { return id_; }
  [[nodiscard]] std::vector<std::string> identifiers() const {
    return options_.hospital ? std::vector<std::string>{secret_,
                                                        id_,
                                                        name_,
                                                        accession_,
                                                        birth_date_,
                                                        study_date_,
                                                        name_ + script().utf8}
                             : std::vector<std::string>{};
  }

 private:
  // The given name in the patient's own script: as the character set encodes it, and in UTF-8.
  struct Script {
    const char *term, *encoded, *utf8;
  };
  [[nodiscard]] const Script& script() const {
    static constexpr std::array<Script, 4> kScripts{{
        {"ISO_IR 100",
         "^M\xFC"
         "ller",
         "^M\u00FCller"},
        {"ISO_IR 144", "^\xB8\xD2\xD0\xDD", "^\u0418\u0432\u0430\u043D"},
        {"ISO_IR 192", "^\xC5\x81ukasz", "^\u0141ukasz"},
        {"\\ISO 2022 IR 87", "=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B", "=\u5C71\u7530^\u592A\u90CE"},
    }};
    return kScripts[static_cast<std::size_t>(number_) % kScripts.size()];
  }

  Stack portal_stack() {
    Stack s;
    s.columns = s.rows = options_.size;
    s.pixel_mm = std::round(random_.uniform(0.72, 0.86) * 1000) / 1000 * 512 / options_.size;
    const auto n =
        options_.min_slices + random_.below(options_.max_slices - options_.min_slices + 1);
    // The range covers the liver with some margin that differs between patients.
    const double low = -random_.uniform(118, 150), high = random_.uniform(112, 135);
    s.thickness_mm = std::round((high - low) / static_cast<double>(n) * 100) / 100;
    s.noise_hu = random_.uniform(8, 18);
    s.sharp = random_.uniform() < 0.2;
    s.noise_key = 2;
    place(s, low, static_cast<std::size_t>(n));
    return s;
  }

  static void place(Stack& s, double low, std::size_t n) {
    const double half = static_cast<double>(s.columns) * s.pixel_mm / 2;
    s.origins.clear();
    for (std::size_t k = 0; k < n; ++k)
      s.origins.push_back(
          {-half, -half, std::round((low + static_cast<double>(k) * s.thickness_mm) * 1e4) / 1e4});
  }

  SeriesHeader header_of(const std::string& description, int series, double delay) {
    SeriesHeader h;
    h.patient_name = options_.hospital ? name_ + script().encoded : name_;
    if (options_.hospital) h.character_set = script().term;
    h.patient_id = id_;
    h.birth_date = options_.hospital ? birth_date_ : "19500101";
    if (options_.hospital) h.study_date = study_date_;
    h.sex = number_ % 2 == 0 ? "F" : "M";
    h.accession = accession_;
    h.secret = secret_;
    h.study_uid = kRoot + fmt::format("{}.{}", options_.seed % 1000000007, number_ + 1);
    h.frame_uid = h.study_uid + ".9";
    h.series_uid = h.study_uid + "." + std::to_string(series);
    h.series_number = series;
    h.description = description;
    h.acquisition_seconds = 36000 + delay;
    h.bolus_seconds = 36000;
    h.bolus = delay > 0 ? "IOHEXOL" : "";
    return h;
  }

  // Slices in parallel; `skip` leaves a gap.
  void write_series(const std::string& folder, const SeriesHeader& h, const Stack& s,
                    bool with_truth, std::size_t skip = 0) {
    tbb::parallel_for(std::size_t{0}, s.origins.size(), [&](std::size_t k) {
      if (skip != 0 && k == skip) return;
      write_slice(options_.out / "export" / folder / file_name(k), h, s, k,
                  render_plane(anatomy_, s, k));
    });
    if (with_truth) write_truth(h.series_uid, s);
  }
  [[nodiscard]] std::string file_name(std::size_t k) const {
    return options_.hospital ? fmt::format("IM{:05d}", 3 * k + 1) : fmt::format("{:04d}.dcm", k);
  }

  // The mask on an upright grid over the stack's range; regular also where the series has gaps or
  // tilt.
  void write_truth(const std::string& name, const Stack& s) {
    Stack upright = s;
    upright.row_axis = {1, 0, 0};
    upright.column_axis = {0, 1, 0};
    const bool tilted = s.column_axis[2] != 0;
    if (tilted) {
      const double half = static_cast<double>(s.columns) * s.pixel_mm / 2;
      const double reach = half * std::abs(s.column_axis[2]) + 4;
      const double low = s.origins.front()[2] - 2 * reach, high = s.origins.back()[2] + 2 * reach;
      upright.thickness_mm = 1.5;
      upright.origins.clear();
      for (double z = low; z <= high; z += 1.5) upright.origins.push_back({-half, -half, z});
    }
    Geometry g;
    g.size = {s.columns, s.rows, static_cast<std::int64_t>(upright.origins.size())};
    g.spacing_mm = {s.pixel_mm, s.pixel_mm, upright.thickness_mm};
    g.origin_mm = upright.origins.front();
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(g.voxels()));
    tbb::parallel_for(std::size_t{0}, upright.origins.size(), [&](std::size_t k) {
      const auto plane = render_liver(anatomy_, upright, k);
      std::copy(plane.begin(), plane.end(),
                mask.begin() + static_cast<std::ptrdiff_t>(k * plane.size()));
    });
    write_nifti(options_.out / "truth" / (name + ".nii.gz"), g, mask);
    std::int64_t voxels = 0;
    for (const auto v : mask) voxels += v;
    nlohmann::json z = nlohmann::json::array();
    for (const Vec3& o : s.origins) z.push_back(o[2]);
    const nlohmann::json json{{"name", name},
                              {"stage", truth_.stage},
                              {"radiological", kWords[truth_.radiological]},
                              {"reader", truth_.reader},
                              {"z_mm", z},
                              {"pixel_mm", s.pixel_mm},
                              {"thickness_mm", s.thickness_mm},
                              {"tilted", tilted},
                              {"nodule_mm", anatomy_.nodule_mm},
                              {"spleen_scale", anatomy_.spleen_scale},
                              {"caudate_scale", anatomy_.caudate_scale},
                              {"liver_ml", static_cast<double>(voxels) * g.spacing_mm[0] *
                                               g.spacing_mm[1] * g.spacing_mm[2] / 1000}};
    write_file_atomic(options_.out / "truth" / (name + ".json"), json.dump(1) + "\n");
  }

  void write_nifti_case(const Stack& s) {
    Geometry g;
    g.size = {s.columns, s.rows, static_cast<std::int64_t>(s.origins.size())};
    g.spacing_mm = {s.pixel_mm, s.pixel_mm, s.thickness_mm};
    g.origin_mm = s.origins.front();
    std::vector<std::int16_t> hu(static_cast<std::size_t>(g.voxels()));
    tbb::parallel_for(std::size_t{0}, s.origins.size(), [&](std::size_t k) {
      const auto plane = render_plane(anatomy_, s, k);
      std::copy(plane.begin(), plane.end(),
                hu.begin() + static_cast<std::ptrdiff_t>(k * plane.size()));
    });
    write_nifti(options_.out / "export" / (id_ + ".nii.gz"), g, hu);
    write_truth(id_, s);
  }

  // What a PACS sends along. Which oddity a patient has follows from its number, so that six show
  // most.
  void write_hospital(Stack portal, SeriesHeader header) {
    const std::string study = fmt::format("{}_{}/ST{:03d}", id_, name_, number_);
    const fs::path root = options_.out / "export" / study;
    static const std::array<const char*, 6> kSyntaxes{
        "1.2.840.10008.1.2.5",    "1.2.840.10008.1.2.1",    "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"};
    header.transfer_syntax = kSyntaxes[static_cast<std::size_t>(number_) % kSyntaxes.size()];
    // Scanners differ in how they store HU.
    header.intercept = number_ % 4 == 0 ? -1024 : -1000;
    header.padded = !header.is_unsigned && number_ % 6 != 4;
    const int oddity = number_ % 6;
    std::size_t skip = 0;
    if (oddity == 1) {  // a gantry tilt of 14 degrees: rows lean, the table moves along z
      const double t = 14 * kPi / 180,
                   half = static_cast<double>(portal.rows) * portal.pixel_mm / 2;
      portal.column_axis = {0, std::cos(t), -std::sin(t)};
      for (Vec3& o : portal.origins) o = {o[0], -half * std::cos(t), o[2] + half * std::sin(t)};
    }
    if (oddity == 2) skip = portal.origins.size() / 2;  // a slice is missing
    if (oddity == 3) header.position = "FFS";
    if (oddity == 4) {  // an enhanced multi-frame file
      std::vector<std::vector<std::int16_t>> planes(portal.origins.size());
      tbb::parallel_for(std::size_t{0}, planes.size(),
                        [&](std::size_t k) { planes[k] = render_plane(anatomy_, portal, k); });
      header.transfer_syntax = "1.2.840.10008.1.2.1";
      write_enhanced(root / "SE00002" / "IM00001", header, portal, planes);
      write_truth(header.series_uid, portal);
    } else {
      write_series(study + "/SE00002", header, portal, true, skip);
    }
    if (oddity == 0) {  // the same slice once more, and a truncated one
      const fs::path original = root / "SE00002" / file_name(1);
      fs::create_directories(root / "COPY");
      fs::copy_file(original, root / "COPY" / "IM77777");
      const std::string bytes = read_file(original);
      write_file_atomic(root / "COPY" / "IM88888",
                        std::string_view(bytes).substr(0, bytes.size() / 2));
    }
    // Other phases and a thick reconstruction, coarser than the portal one.
    const auto other = [&](int series, const char* text, double delay, Contrast contrast,
                           double thickness) {
      Stack s = portal;
      s.column_axis = {0, 1, 0};
      s.contrast = contrast;
      s.noise_key = static_cast<std::uint64_t>(series);
      s.thickness_mm = thickness;
      place(s, -120, static_cast<std::size_t>(240 / thickness));
      SeriesHeader h = header_of(text, series, delay);
      write_series(fmt::format("{}/SE{:05d}", study, series), h, s, false);
    };
    other(3, "ARTERIAL ABD", 30, Contrast::arterial, 20);
    if (number_ % 2 == 0) other(4, "DELAYED ABD 5 MIN", 300, Contrast::delayed, 20);
    if (number_ % 3 == 0) {  // a thick reconstruction of the portal acquisition: the same moment
      Stack s = portal;
      s.column_axis = {0, 1, 0};
      s.thickness_mm = 15;
      place(s, -120, 16);
      write_series(study + "/SE00005", header_of("PORTAL VENOUS ABD THICK 15MM", 5, 70), s, false);
    }
    // A localizer and dose reports, structured and as a picture of a screen.
    Stack scout = portal;
    scout.column_axis = {0, 0, -1};
    scout.rows = scout.columns;
    scout.origins = {{portal.origins[0][0], 0, 200}};
    SeriesHeader h = header_of("SCOUT", 1, 0);
    h.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
    write_slice(root / "SE00001" / "IM00001", h, scout, 0, render_plane(anatomy_, scout, 0));
    SeriesHeader screen = header_of("DOSE SCREEN", 98, 0);
    screen.secondary_capture = true;
    screen.image_type = "DERIVED\\SECONDARY";
    write_slice(root / "SE00098" / "IM00001", screen, scout, 0,
                std::vector<std::int16_t>(static_cast<std::size_t>(scout.rows * scout.columns)));
    write_plain(root / "SE00099" / "SR00001", header_of("DOSE REPORT", 99, 0),
                "1.2.840.10008.5.1.4.1.1.88.67", "SR");
    write_file_atomic(root / ("notes " + name_ + ".txt"), std::string_view("not an image\n"));
  }

  const CohortOptions& options_;
  int number_;
  SubjectTruth truth_;
  Random random_;
  Anatomy anatomy_;
  std::string secret_, id_, name_, accession_, birth_date_, study_date_;
};

}  // namespace

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
  return truth;
}

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
  tbb::parallel_for(0, options.subjects, [&](int i) {
    stop_if_interrupted("the cohort is incomplete: run again with --force to make it anew");
    Subject subject(options, i);
    subject.write();
    const SubjectTruth& t = subject.truth();
    rows[static_cast<std::size_t>(i)] = subject.label_key() + "," + kWords[t.radiological] + "," +
                                        (t.histology ? "F" + std::to_string(t.stage) : "") + "," +
                                        (t.ishak >= 0 ? std::to_string(t.ishak) : "") + "," +
                                        (t.reader == 1 ? "cirrhotic" : "healthy") + "\n";
    identifiers[static_cast<std::size_t>(i)] = subject.identifiers();
    progress.advance();
  });
  std::string labels = "subject,radiological,metavir,ishak,reader\n", phi;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    labels += rows[i];
    for (const std::string& text : identifiers[i]) phi += text + "\n";
  }
  write_file_atomic(options.out / "labels.csv", labels);
  if (!options.hospital) return;
  write_file_atomic(options.out / "phi.txt", phi);
  SeriesHeader directory;
  directory.series_uid = kRoot + "1";
  write_plain(options.out / "export" / "DICOMDIR", directory, "1.2.840.10008.1.3.10", "");
  write_file_atomic(options.out / "export" / "Thumbs.db", std::string_view("\x01\x02junk", 6));
}

}  // namespace wsp::phantom
