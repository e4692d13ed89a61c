// wsp-phantom: synthetic abdominal CT cohorts whose truth is known.
#include <iostream>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/printable.hpp"
#include "io/medical/scan.hpp"
#include "preprocess/phantom/cohort.hpp"
#include "tool_main.hpp"

namespace {

struct Options {
  wsp::phantom::CohortOptions cohort;
  std::string out, slices = "40-80", format = "dicom", matrix, anatomy = "plain";
  bool clean = false;
};

void declare(CLI::App& app, Options& o) {
  app.add_option("--out", o.out, "Directory to make")->required();
  app.add_option("--subjects", o.cohort.subjects, "Number of patients")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--slices", o.slices, "Slices per volume, MIN-MAX")->capture_default_str();
  app.add_option("--size", o.cohort.size, "In-plane matrix")
      ->check(CLI::Range(32, 1024))
      ->capture_default_str();
  app.add_option("--matrix", o.matrix,
                 "fixed: all have --size; varied: of six subjects one has 3/2 of it and one "
                 "25/32 (768 and 400 of 512); default varied with --hospital")
      ->check(CLI::IsMember({"fixed", "varied"}));
  app.add_option("--format", o.format, "dicom or nifti")
      ->check(CLI::IsMember({"dicom", "nifti"}))
      ->capture_default_str();
  app.add_flag("--balance", o.cohort.balance, "Equal classes instead of the paper's proportions");
  app.add_flag("--force", o.cohort.force, "Replace an earlier cohort");
  app.add_option("--anatomy", o.anatomy,
                 "plain: the cohorts of the other commands; rich: organs, illnesses, bodies and "
                 "scans sampled wider than nature, to train a liver network on")
      ->check(CLI::IsMember({"plain", "rich"}))
      ->capture_default_str();
  app.add_flag("--organs", o.cohort.organs,
               "Write truth/NAME_organs.nii.gz too, a label map of all organs (--anatomy rich)");
  auto* tidy = app.add_flag("--clean", o.clean, "One tidy series per patient (default)");
  app.add_flag("--hospital", o.cohort.hospital,
               "Like a PACS dump: other phases, oddities, identifiers (phi.txt lists them); 6 "
               "subjects show every oddity")
      ->excludes(tidy);
}

// --slices into the cohort. Throws Error(usage).
void set_slices(Options& o) {
  const auto dash = o.slices.find('-');
  try {
    o.cohort.min_slices = std::stoi(o.slices.substr(0, dash));
    o.cohort.max_slices =
        dash == std::string::npos ? o.cohort.min_slices : std::stoi(o.slices.substr(dash + 1));
  } catch (const std::exception&) {
    o.cohort.min_slices = 0;
  }
  if (o.cohort.min_slices < 3 || o.cohort.max_slices < o.cohort.min_slices ||
      o.cohort.max_slices > 2000)
    throw wsp::Error(wsp::ErrorCode::usage, "--slices is '" + o.slices +
                                                "': expected MIN-MAX with 3 <= MIN <= MAX <= 2000");
}

int run(Options& o, const wsp::CommonOptions& common) {
  set_slices(o);
  wsp::phantom::CohortOptions& cohort = o.cohort;
  cohort.nifti = o.format == "nifti";
  if (cohort.nifti && cohort.hospital)
    throw wsp::Error(wsp::ErrorCode::usage, "--hospital writes DICOM; drop --format nifti");
  cohort.rich = o.anatomy == "rich";
  if (cohort.organs && !cohort.rich)
    throw wsp::Error(wsp::ErrorCode::usage,
                     "--organs needs --anatomy rich: the plain phantom has no map of organs");
  cohort.vary_matrix = o.matrix == "varied" || (o.matrix.empty() && cohort.hospital);
  cohort.out = o.out;
  cohort.seed = common.seed;
  wsp::initialise_medical_io();
  wsp::phantom::make_cohort(cohort);
  nlohmann::json made{{"subjects", cohort.subjects},
                      {"export", o.out + "/export"},
                      {"truth", o.out + "/truth"},
                      {"labels", o.out + "/labels.csv"}};
  if (cohort.hospital) made["phi"] = o.out + "/phi.txt";
  if (common.json)
    std::cout << wsp::json_text(made, 1) << "\n";
  else
    std::cout << wsp::printable(std::to_string(cohort.subjects) + " subjects -> " + o.out +
                                "/export, " + o.out + "/truth, " + o.out + "/labels.csv" +
                                (cohort.hospital ? ", " + o.out + "/phi.txt" : ""))
              << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  wsp::Tool tool;
  tool.name = "wsp-phantom";
  tool.description =
      "Make a synthetic abdominal CT cohort: export/, truth/ (liver masks, one JSON per case), "
      "labels.csv";
  tool.footer = "Example:\n  wsp-phantom --out cohort --subjects 8 --seed 1 --balance --hospital";
  tool.declare = [&](CLI::App& app) { declare(app, o); };
  tool.run = [&](const wsp::CommonOptions& common) { return run(o, common); };
  return wsp::tool_main(argc, argv, tool);
}
