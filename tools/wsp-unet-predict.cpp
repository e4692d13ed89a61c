// wsp-unet predict: volumes in, masks out. Without the ingest half there is nothing that reads
// volumes.
#include "wsp-unet-predict.hpp"

#include <algorithm>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/core/progress.hpp"
#include "preprocess/ops/liver.hpp"
#include "train/unet/unet.hpp"
#ifdef WSP_WITH_MEDICAL
#include "io/medical/image_file.hpp"
#include "io/medical/scan.hpp"
#include "preprocess/segment/model_runtime.hpp"
#endif

namespace wsp {

void declare_predict(CLI::App& app, PredictOptions& o) {
  app.add_option(
         "RUN", o.source,
         "Run directory (its best weights), weights file, or MODEL.json: the descriptor of any "
         "liver model (docs/MODELS.md)")
      ->required();
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

// Makes the mask of a volume, on its own grid.
using Predict = std::function<Outcome<LiverMask>(const Volume&)>;

Predict predictor_of(const PredictOptions& o, const CommonOptions& common) {
  if (o.source.extension() != ".json") {
    auto own =
        std::make_shared<train::LiverPredictor>(o.source, o.device, common.threads, o.precision);
    return [own](const Volume& volume) -> Outcome<LiverMask> { return own->predict(volume); };
  }
  // All of the volume: what is found in a coarse pass alone is the ingest's way.
  const std::shared_ptr<Segmenter> model =
      make_segmenter(o.source, o.device, SegmentationPlan{0}, o.precision);
  if (model->refines())
    throw Error(ErrorCode::usage,
                o.source.string() +
                    " asks for output.refine, which wsp-ingest --liver-model does "
                    "and this command does not");
  return [model](const Volume& volume) -> Outcome<LiverMask> {
    stop_if_interrupted("run the same command again");
    auto answer = model->segment(volume);
    if (!answer.ok()) return answer.rejection();
    return std::move(answer).value().mask;
  };
}

}  // namespace

int predict(const PredictOptions& o, const CommonOptions& common) {
  check(o);
  initialise_medical_io();
  const Predict predict_mask = predictor_of(o, common);
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
    auto predicted = predict_mask(image.value().volume);
    if (!predicted.ok()) {
      log::error(path.string() + ": " + std::string(to_string(predicted.rejection().code)) + " " +
                 predicted.rejection().detail);
      refused = true;
      continue;
    }
    LiverMask mask = std::move(predicted).value();
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
