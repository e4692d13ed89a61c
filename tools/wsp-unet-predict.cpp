// wsp-unet predict: volumes in, masks out. Without the ingest half there is nothing that reads
// volumes.
#include "wsp-unet-predict.hpp"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/progress.hpp"
#include "preprocess/ops/liver.hpp"
#include "train/unet/unet.hpp"
#ifdef WSP_WITH_MEDICAL
#include "io/medical/image_file.hpp"
#include "io/medical/scan.hpp"
#endif

namespace wsp {

void declare_predict(CLI::App& app, PredictOptions& o) {
  app.add_option("RUN", o.source, "Run directory (its best weights) or weights file")->required();
  app.add_option("VOLUME", o.volumes,
                 "NIfTI or NRRD; of DICOM, wsp-ingest --liver-model makes masks")
      ->required();
  app.add_option("--out", o.out, "Directory for the masks: STEM.nii.gz each, on the volume's grid")
      ->required();
  app.add_flag("--no-clean", o.no_clean, "Keep all components, and holes");
  app.add_flag("--force", o.force, "Replace earlier masks");
  app.add_option("--device", o.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--precision", o.precision,
                 "auto (on a card what the network was trained in, on the CPU fp32), fp32, bf16 or "
                 "fp16 (on a card)")
      ->capture_default_str();
}

#ifndef WSP_WITH_MEDICAL

int predict(const PredictOptions&, const CommonOptions&) {
  throw Error(
      ErrorCode::usage,
      "this build reads no volumes: build with WSP_BUILD_INGEST=ON, or export the network and use "
      "wsp-ingest --liver-model");
}

#else

namespace {

std::filesystem::path mask_path(const PredictOptions& o, const std::filesystem::path& volume) {
  std::filesystem::path stem = volume.filename();
  if (stem.extension() == ".gz") stem.replace_extension();
  stem.replace_extension();
  return o.out / (stem.string() + ".nii.gz");
}

// Everything that can be refused is refused before the first volume is read.
void check(const PredictOptions& o) {
  std::vector<std::filesystem::path> masks;
  for (const auto& volume : o.volumes) {
    if (!std::filesystem::exists(volume))
      throw Error(
          ErrorCode::no_input,
          volume.string() + " does not exist: expected NIfTI or NRRD volumes such as scan.nii.gz");
    if (!is_image_file_name(volume) || !std::filesystem::is_regular_file(volume))
      throw Error(
          ErrorCode::usage,
          volume.string() + " is no NIfTI or NRRD file: expected volumes such as scan.nii.gz");
    const auto path = mask_path(o, volume);
    if (std::find(masks.begin(), masks.end(), path) != masks.end())
      throw Error(ErrorCode::usage,
                  "two volumes would both give " + path.string() + ": predict them apart");
    if (std::filesystem::exists(path) && !o.force)
      throw Error(ErrorCode::output,
                  path.string() + " exists: give another --out, or replace it with --force");
    masks.push_back(path);
  }
  std::error_code code;
  std::filesystem::create_directories(o.out, code);
  if (code) throw Error(ErrorCode::output, "cannot make " + o.out.string() + ": " + code.message());
}

}  // namespace

int predict(const PredictOptions& o, const CommonOptions& common) {
  check(o);
  initialise_medical_io();
  train::LiverPredictor predictor(o.source, o.device, common.threads, o.precision);
  Progress progress("predicting", o.volumes.size(), "volumes");
  nlohmann::json made = nlohmann::json::array();
  bool refused = false;
  for (const auto& path : o.volumes) {
    const auto header = read_image_header(path);
    auto image = read_image_volume(path);
    progress.advance();
    if (!header.ok() || !image.ok()) {
      const Rejection& why = header.ok() ? image.rejection() : header.rejection();
      log::error(path.string() + ": " + std::string(to_string(why.code)) + " " + why.detail);
      refused = true;
      continue;
    }
    LiverMask mask = predictor.predict(image.value().volume);
    if (!o.no_clean) clean_mask(mask);
    const auto out = mask_path(o, path);
    const Geometry& file = header.value().geometry;
    write_nifti(out, file, in_file_order(mask, file));
    made.push_back({{"volume", path.string()}, {"mask", out.string()}});
    if (!common.json) std::cout << out.string() << "\n";
  }
  if (common.json) std::cout << wsp::json_text(made) << "\n";
  return refused ? 3 : 0;
}

#endif

}  // namespace wsp
