#include "preprocess/phantom/subject.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/json_text.hpp"
#include "io/core/parallel.hpp"
#include "io/medical/image_file.hpp"
#include "preprocess/phantom/rich_anatomy.hpp"

namespace wsp::phantom {
namespace {

std::string marker(Random& random) {
  static constexpr char kLetters[] = "BCDFGHJKLMNPQRSTVWXZ";
  std::string text;
  for (int i = 0; i < 10; ++i) text += kLetters[random.below(20)];
  return text;
}

// Between the first two slices; there may be gaps between them.
double slice_distance(const Stack& s) {
  return s.origins.size() > 1 ? std::abs(s.origins[1][2] - s.origins[0][2]) : s.thickness_mm;
}

}  // namespace

int trait(const CohortOptions& options, int subject, Trait which) {
  std::array<int, kSubjectsForAll> order{};
  std::iota(order.begin(), order.end(), 0);
  Random random{options.seed, static_cast<std::uint64_t>(subject / kSubjectsForAll),
                static_cast<std::uint64_t>(which), 11};
  for (std::size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i],
              order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i) + 1))]);
  return order[static_cast<std::size_t>(subject % kSubjectsForAll)];
}

std::string uid_root(const CohortOptions& options) {
  return fmt::format("1.2.826.0.1.3680043.10.1234.{}", options.seed % 1000000007);
}

Subject::Subject(const CohortOptions& options, int number)
    : options_(options),
      number_(number),
      truth_(draw_subject(options, number)),
      random_({options.seed, static_cast<std::uint64_t>(number), 2}),
      anatomy_(draw_anatomy(options.seed, static_cast<std::uint64_t>(number), truth_.stage)) {
  if (options.rich)
    anatomy_.rich = std::make_shared<RichAnatomy>(options.seed, static_cast<std::uint64_t>(number));
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

void Subject::write() {
  const Stack portal = portal_stack();
  SeriesHeader header = header_of("PORTAL VENOUS ABD", 2, 70);
  header.is_unsigned = number_ % 2 == 1;
  if (options_.nifti) return write_nifti_case(portal);
  if (!options_.hospital)
    return write_series(fmt::format("sub-{:04d}/portal", number_), header, portal, true);
  write_hospital(portal, header);
}

std::vector<std::string> Subject::identifiers() const {
  if (!options_.hospital) return {};
  std::vector<std::string> all{secret_,
                               id_,
                               name_,
                               accession_,
                               birth_date_,
                               study_date_,
                               script().utf8 + 1,
                               name_ + script().utf8};
  std::set<std::string> uids;
  for (const SeriesRecord& series : records_) {
    const SeriesHeader& h = series.header;
    uids.insert({h.study_uid, h.series_uid, h.frame_uid});
    for (const InstanceRecord& instance : series.instances) uids.insert(instance.sop_uid);
  }
  all.insert(all.end(), uids.begin(), uids.end());
  return all;
}

const Subject::Script& Subject::script() const {
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

Stack Subject::portal_stack() {
  if (anatomy_.rich)
    return anatomy_.rich->draw_stack(options_.size, options_.min_slices, options_.max_slices);
  // Reconstruction matrix over the usual one; the field of view stays.
  static constexpr std::array<int, kSubjectsForAll> kMatrix{512, 512, 512, 512, 768, 400};
  static constexpr std::array<const char*, kSubjectsForAll> kKernels{"B30f",  "STANDARD", "FC08",
                                                                     "Br40d", "B31s",     "B70f"};
  Stack s;
  const int matrix =
      options_.vary_matrix ? kMatrix.at(static_cast<std::size_t>(trait(Trait::matrix))) : 512;
  s.columns = s.rows = static_cast<std::int64_t>(options_.size) * matrix / 512;
  const double field_mm = std::round(random_.uniform(0.72, 0.86) * 1000) / 1000 * 512;
  s.pixel_mm = field_mm / static_cast<double>(s.columns);
  const auto n = options_.min_slices + random_.below(options_.max_slices - options_.min_slices + 1);
  // The range covers the liver with some margin that differs between patients.
  const double low = -random_.uniform(118, 150), high = random_.uniform(112, 135);
  s.thickness_mm = std::round((high - low) / static_cast<double>(n) * 100) / 100;
  s.noise_hu = random_.uniform(8, 18);
  kernel_ = kKernels.at(static_cast<std::size_t>(trait(Trait::kernel)));
  s.sharp = kernel_ == kKernels.back();
  s.noise_key = 2;
  place(s, low, static_cast<std::size_t>(n));
  return s;
}

void Subject::place(Stack& s, double low, std::size_t n) {
  const double half = static_cast<double>(s.columns) * s.pixel_mm / 2;
  s.origins.clear();
  for (std::size_t k = 0; k < n; ++k)
    s.origins.push_back(
        {-half, -half, std::round((low + static_cast<double>(k) * s.thickness_mm) * 1e4) / 1e4});
}

SeriesHeader Subject::header_of(const std::string& description, int series, double delay) const {
  SeriesHeader h;
  h.patient_name = options_.hospital ? name_ + script().encoded : name_;
  if (options_.hospital) h.character_set = script().term;
  h.patient_id = id_;
  h.birth_date = options_.hospital ? birth_date_ : "19500101";
  if (options_.hospital) h.study_date = study_date_;
  h.sex = number_ % 2 == 0 ? "F" : "M";
  h.accession = accession_;
  h.secret = secret_;
  h.study_uid = fmt::format("{}.{}", uid_root(options_), number_ + 1);
  h.frame_uid = h.study_uid + ".9";
  h.series_uid = h.study_uid + "." + std::to_string(series);
  h.series_number = series;
  h.description = description;
  h.kernel = kernel_;
  h.acquisition_seconds = 36000 + delay;
  h.bolus_seconds = 36000;
  h.bolus = delay > 0 ? "IOHEXOL" : "";
  return h;
}

std::string Subject::file_name(std::size_t k) const {
  return options_.hospital ? fmt::format("IM{:05d}", 3 * k + 1) : fmt::format("{:04d}.dcm", k);
}

void Subject::note(const SeriesHeader& header, const std::string& modality,
                   std::vector<InstanceRecord> instances) {
  if (options_.hospital) records_.push_back({header, modality, std::move(instances)});
}

void Subject::write_series(const std::string& folder, const SeriesHeader& h, const Stack& s,
                           bool with_truth, std::size_t skip) {
  std::vector<InstanceRecord> instances(s.origins.size());
  wsp::parallel_loop(std::size_t{0}, s.origins.size(), [&](std::size_t k) {
    if (skip != 0 && k == skip) return;
    const std::string path = folder + "/" + file_name(k);
    instances[k] = write_slice(place_of(path), h, s, k, render_plane(anatomy_, s, k));
    instances[k].path = path;
  });
  std::erase_if(instances, [](const InstanceRecord& i) { return i.path.empty(); });
  note(h, "CT", std::move(instances));
  if (with_truth) write_truth(h.series_uid, s);
}

// The mask on an upright grid over the stack's range; regular also where the series has gaps or
// tilt.
void Subject::write_truth(const std::string& name, const Stack& s) {
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
  g.spacing_mm = {s.pixel_mm, s.pixel_mm, slice_distance(upright)};
  g.origin_mm = upright.origins.front();
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(g.voxels()));
  wsp::parallel_loop(std::size_t{0}, upright.origins.size(), [&](std::size_t k) {
    const auto plane = render_liver(anatomy_, upright, k);
    std::copy(plane.begin(), plane.end(),
              mask.begin() + static_cast<std::ptrdiff_t>(k * plane.size()));
  });
  write_nifti(options_.out / "truth" / (name + ".nii.gz"), g, mask);
  if (options_.organs && anatomy_.rich) {
    std::vector<std::uint8_t> organs(mask.size());
    wsp::parallel_loop(std::size_t{0}, upright.origins.size(), [&](std::size_t k) {
      const auto plane = anatomy_.rich->labels(upright, k);
      std::copy(plane.begin(), plane.end(),
                organs.begin() + static_cast<std::ptrdiff_t>(k * plane.size()));
    });
    write_nifti(options_.out / "truth" / (name + "_organs.nii.gz"), g, organs);
  }
  std::int64_t voxels = 0;
  for (const auto v : mask) voxels += v;
  nlohmann::json z = nlohmann::json::array();
  for (const Vec3& o : s.origins) z.push_back(o[2]);
  const nlohmann::json json{
      {"name", name},
      {"stage", truth_.stage},
      {"radiological", kRadiologicalWords.at(static_cast<std::size_t>(truth_.radiological))},
      {"reader", truth_.reader},
      {"z_mm", z},
      {"pixel_mm", s.pixel_mm},
      {"thickness_mm", s.thickness_mm},
      {"kernel", kernel_},
      {"matrix", s.columns},
      {"tilted", tilted},
      {"nodule_mm", anatomy_.nodule_mm},
      {"spleen_scale", anatomy_.spleen_scale},
      {"caudate_scale", anatomy_.caudate_scale},
      {"liver_ml",
       static_cast<double>(voxels) * g.spacing_mm[0] * g.spacing_mm[1] * g.spacing_mm[2] / 1000}};
  write_file_atomic(options_.out / "truth" / (name + ".json"), json_text(json, 1) + "\n");
}

void Subject::write_nifti_case(const Stack& s) {
  Geometry g;
  g.size = {s.columns, s.rows, static_cast<std::int64_t>(s.origins.size())};
  g.spacing_mm = {s.pixel_mm, s.pixel_mm, slice_distance(s)};
  g.origin_mm = s.origins.front();
  std::vector<std::int16_t> hu(static_cast<std::size_t>(g.voxels()));
  wsp::parallel_loop(std::size_t{0}, s.origins.size(), [&](std::size_t k) {
    const auto plane = render_plane(anatomy_, s, k);
    std::copy(plane.begin(), plane.end(),
              hu.begin() + static_cast<std::ptrdiff_t>(k * plane.size()));
  });
  write_nifti(options_.out / "export" / (id_ + ".nii.gz"), g, hu);
  write_truth(id_, s);
}

}  // namespace wsp::phantom
