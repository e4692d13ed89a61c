// What a PACS sends along with the series that is wanted.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <numbers>

#include "io/core/atomic_file.hpp"
#include "io/core/parallel.hpp"
#include "preprocess/phantom/mask_write.hpp"
#include "preprocess/phantom/subject.hpp"

namespace wsp::phantom {

namespace fs = std::filesystem;

void Subject::write_hospital(Stack portal, SeriesHeader header) {
  const std::string study = fmt::format("{}_{}/ST{:03d}", id_, name_, number_);
  const auto oddity = static_cast<Oddity>(trait(Trait::oddity));
  static constexpr std::array<const char*, kSubjectsForAll> kSyntaxes{
      "1.2.840.10008.1.2.5",    "1.2.840.10008.1.2.1",    "1.2.840.10008.1.2.4.70",
      "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"};
  header.transfer_syntax = kSyntaxes.at(static_cast<std::size_t>(number_ % kSubjectsForAll));
  // Scanners differ in how they store HU.
  header.intercept = number_ % 4 == 0 ? -1024 : -1000;
  const bool enhanced = oddity == Oddity::enhanced;
  header.padded = !header.is_unsigned && !enhanced;
  std::size_t skip = 0;
  if (oddity ==
      Oddity::tilted) {  // a gantry tilt of 14 degrees: rows lean, the table moves along z
    const double t = 14 * std::numbers::pi / 180,
                 half = static_cast<double>(portal.rows) * portal.pixel_mm / 2;
    portal.column_axis = {0, std::cos(t), -std::sin(t)};
    for (Vec3& o : portal.origins) o = {o[0], -half * std::cos(t), o[2] + half * std::sin(t)};
  }
  if (oddity == Oddity::gap) skip = portal.origins.size() / 2;  // a slice is missing
  if (oddity == Oddity::feet_first) header.position = "FFS";
  if (enhanced) {
    std::vector<std::vector<std::int16_t>> planes(portal.origins.size());
    wsp::parallel_loop(std::size_t{0}, planes.size(),
                       [&](std::size_t k) { planes[k] = render_plane(anatomy_, portal, k); });
    const std::string path = study + "/SE00002/IM00001";
    InstanceRecord record = write_enhanced(place_of(path), header, portal, planes);
    record.path = path;
    note(header, "CT", {record});
    write_truth(header.series_uid, portal);
  } else {
    write_series(study + "/SE00002", header, portal, true, skip);
  }
  if (oddity == Oddity::copies) write_copies(study, study + "/SE00002/" + file_name(1));
  write_masks(study, portal, header, skip, enhanced);
  write_other_series(study, portal);
  write_others(study, portal);
}

// The same slice once more, and a truncated one.
void Subject::write_copies(const std::string& study, const std::string& original) const {
  const fs::path folder = place_of(study + "/COPY");
  fs::create_directories(folder);
  fs::copy_file(place_of(original), folder / "IM77777");
  const std::string bytes = read_file(place_of(original));
  write_file_atomic(folder / "IM88888", std::string_view(bytes).substr(0, bytes.size() / 2));
}

// The liver as a reader's workstation sends it back: a SEG for some patients, contours for others,
// both for one.
void Subject::write_masks(const std::string& study, const Stack& portal, const SeriesHeader& header,
                          std::size_t skip, bool enhanced) {
  const int kind = trait(Trait::masks);
  const bool seg = kind == 0 || kind == 1, contours = kind == 1 || kind == 2;
  if (!seg && !contours) return;
  MaskSource source{&header, &portal, {}, {}, enhanced};
  source.sop_class =
      enhanced ? "1.2.840.10008.5.1.4.1.1.2.1" : "1.2.840.10008.5.1.4.1.1.2";  // (Enhanced) CT
  std::vector<std::vector<std::uint8_t>> liver(portal.origins.size());
  for (std::size_t k = 0; k < liver.size(); ++k)
    source.instances.push_back(skip != 0 && k == skip ? "" : slice_uid(header, enhanced ? 0 : k));
  wsp::parallel_loop(std::size_t{0}, liver.size(),
                     [&](std::size_t k) { liver[k] = render_liver(anatomy_, portal, k); });
  const auto write = [&](auto writer, int number, const char* modality, const char* text) {
    SeriesHeader h = header_of(text, number, 0);
    const std::string path = fmt::format("{}/SE{:05d}/{}00001", study, number, modality);
    InstanceRecord record = writer(place_of(path), h, source, liver);
    record.path = path;
    note(h, modality, {record});
  };
  if (seg) write(write_seg, 7, "SEG", "LIVER SEGMENTATION");
  if (contours) write(write_rtstruct, 8, "RTSTRUCT", "LIVER CONTOURS");
}

// Other phases and a thick reconstruction, coarser than the portal one.
void Subject::write_other_series(const std::string& study, const Stack& portal) {
  const auto other = [&](int series, const char* text, double delay, Contrast contrast,
                         double thickness, std::size_t n) {
    Stack s = portal;
    s.column_axis = {0, 1, 0};
    s.contrast = contrast;
    s.noise_key = static_cast<std::uint64_t>(series);
    s.thickness_mm = thickness;
    place(s, -120, n);
    write_series(fmt::format("{}/SE{:05d}", study, series), header_of(text, series, delay), s,
                 false);
  };
  const int extras = trait(Trait::extras);
  other(3, "ARTERIAL ABD", 30, Contrast::arterial, 20, 12);
  if (extras % 2 == 0) other(4, "DELAYED ABD 5 MIN", 300, Contrast::delayed, 20, 12);
  // Of the portal acquisition: the same moment.
  if (extras % 3 == 0) other(5, "PORTAL VENOUS ABD THICK 15MM", 70, Contrast::portal, 15, 15);
}

// A localizer, and dose reports: structured, and as a picture of a screen.
void Subject::write_others(const std::string& study, const Stack& portal) {
  Stack scout = portal;
  scout.column_axis = {0, 0, -1};
  scout.origins.assign(1, {portal.origins[0][0], 0, 200});
  const auto picture = [&](const SeriesHeader& h, const std::vector<std::int16_t>& hu,
                           const char* modality) {
    const std::string path = fmt::format("{}/SE{:05d}/IM00001", study, h.series_number);
    InstanceRecord record = write_slice(place_of(path), h, scout, 0, hu);
    record.path = path;
    note(h, modality, {record});
  };
  SeriesHeader h = header_of("SCOUT", 1, 0);
  h.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
  picture(h, render_plane(anatomy_, scout, 0), "CT");
  SeriesHeader screen = header_of("DOSE SCREEN", 98, 0);
  screen.secondary_capture = true;
  screen.image_type = "DERIVED\\SECONDARY";
  picture(screen, std::vector<std::int16_t>(static_cast<std::size_t>(scout.rows * scout.columns)),
          "OT");
  const SeriesHeader dose = header_of("DOSE REPORT", 99, 0);
  const std::string path = study + "/SE00099/SR00001";
  InstanceRecord record = write_report(place_of(path), dose);
  record.path = path;
  note(dose, "SR", {record});
  write_file_atomic(place_of(fmt::format("{}/notes {}.txt", study, name_)),
                    std::string_view("not an image\n"));
}

}  // namespace wsp::phantom
