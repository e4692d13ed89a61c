// wsp-phantom: synthetic abdominal CT cohorts whose truth is known.
#include <iostream>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/printable.hpp"
#include "io/medical/scan.hpp"
#include "preprocess/phantom/cohort.hpp"
#include "tool_main.hpp"

int main(int argc, char** argv) {
  wsp::phantom::CohortOptions options;
  std::string out, slices = "40-80", format = "dicom", matrix, anatomy = "plain";
  bool clean = false;
  wsp::Tool tool;
  tool.name = "wsp-phantom";
  tool.description =
      "Make a synthetic abdominal CT cohort: export/, truth/ (liver masks, one JSON per case), "
      "labels.csv";
  tool.footer = "Example:\n  wsp-phantom --out cohort --subjects 8 --seed 1 --balance --hospital";
  tool.declare = [&](CLI::App& app) {
    app.add_option("--out", out, "Directory to make")->required();
    app.add_option("--subjects", options.subjects, "Number of patients")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
    app.add_option("--slices", slices, "Slices per volume, MIN-MAX")->capture_default_str();
    app.add_option("--size", options.size, "In-plane matrix")
        ->check(CLI::Range(32, 1024))
        ->capture_default_str();
    app.add_option("--matrix", matrix,
                   "fixed: all have --size; varied: of six subjects one has 3/2 of it and one "
                   "25/32 (768 and 400 of 512); default varied with --hospital")
        ->check(CLI::IsMember({"fixed", "varied"}));
    app.add_option("--format", format, "dicom or nifti")
        ->check(CLI::IsMember({"dicom", "nifti"}))
        ->capture_default_str();
    app.add_flag("--balance", options.balance, "Equal classes instead of the paper's proportions");
    app.add_flag("--force", options.force, "Replace an earlier cohort");
    app.add_option("--anatomy", anatomy,
                   "plain: the cohorts of the other commands; rich: organs, illnesses, bodies and "
                   "scans sampled wider than nature, to train a liver network on")
        ->check(CLI::IsMember({"plain", "rich"}))
        ->capture_default_str();
    app.add_flag("--organs", options.organs,
                 "Write truth/NAME_organs.nii.gz too, a label map of all organs (--anatomy rich)");
    auto* tidy = app.add_flag("--clean", clean, "One tidy series per patient (default)");
    app.add_flag("--hospital", options.hospital,
                 "Like a PACS dump: other phases, oddities, identifiers (phi.txt lists them); 6 "
                 "subjects show every oddity")
        ->excludes(tidy);
  };
  tool.run = [&](const wsp::CommonOptions& common) {
    const auto dash = slices.find('-');
    try {
      options.min_slices = std::stoi(slices.substr(0, dash));
      options.max_slices =
          dash == std::string::npos ? options.min_slices : std::stoi(slices.substr(dash + 1));
    } catch (const std::exception&) {
      options.min_slices = 0;
    }
    if (options.min_slices < 3 || options.max_slices < options.min_slices ||
        options.max_slices > 2000)
      throw wsp::Error(
          wsp::ErrorCode::usage,
          "--slices is '" + slices + "': expected MIN-MAX with 3 <= MIN <= MAX <= 2000");
    options.nifti = format == "nifti";
    if (options.nifti && options.hospital)
      throw wsp::Error(wsp::ErrorCode::usage, "--hospital writes DICOM; drop --format nifti");
    options.rich = anatomy == "rich";
    if (options.organs && !options.rich)
      throw wsp::Error(wsp::ErrorCode::usage,
                       "--organs needs --anatomy rich: the plain phantom has no map of organs");
    options.vary_matrix = matrix == "varied" || (matrix.empty() && options.hospital);
    options.out = out;
    options.seed = common.seed;
    wsp::initialise_medical_io();
    wsp::phantom::make_cohort(options);
    nlohmann::json made{{"subjects", options.subjects},
                        {"export", out + "/export"},
                        {"truth", out + "/truth"},
                        {"labels", out + "/labels.csv"}};
    if (options.hospital) made["phi"] = out + "/phi.txt";
    if (common.json)
      std::cout << wsp::json_text(made, 1) << "\n";
    else
      std::cout << wsp::printable(std::to_string(options.subjects) + " subjects -> " + out +
                                  "/export, " + out + "/truth, " + out + "/labels.csv" +
                                  (options.hospital ? ", " + out + "/phi.txt" : ""))
                << "\n";
    return 0;
  };
  return wsp::tool_main(argc, argv, tool);
}
