#include "wsp-eval-options.hpp"

#include <fmt/format.h>

#include <exception>

#include "io/core/error.hpp"
#include "train/model/catalogue.hpp"
#include "training_options.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

void declare_diagnosis(CLI::App& app, EvalOptions& o, bool several) {
  app.add_option(
         "--label", o.labels,
         several ? "Label column; one for all datasets, or one each, repeated" : "Label column")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--positive", o.positives,
                 several ? "Its positive classes, e.g. F3,F4, 3,4 or >=3; as often as --label"
                         : "Its positive classes, e.g. F3,F4, 3,4 or >=3")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void declare_overlap(CLI::App& app, bool& allow) {
  app.add_flag(
      "--allow-overlap", allow,
      "Go on where the encoder was trained on those it is evaluated on; the result is flagged");
}

void declare_folds(CLI::App& app, EvalOptions& o) {
  app.add_option("--folds", o.protocol.cv.folds, "Folds, stratified by class, by subject")
      ->capture_default_str();
  app.add_option("--C", o.c, "Inverse penalty, or cv: chosen in inner folds")
      ->capture_default_str();
  app.add_option(
         "--divisions", o.protocol.divisions,
         "Divisions of the cohort into halves that are fitted anew, for the intervals; 0: none")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  app.add_option("--sensitivity", o.protocol.sensitivity,
                 "Sensitivity that a threshold is sought for")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  app.add_option("--by", o.by,
                 "AUC within subgroups, by columns between commas: kernel, scanner, phase, "
                 "dataset, spacing_mm, pixel_mm, or a label")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--reader", o.reader, "Label column of a reader's binary call, shown beside");
}

void declare_network(CLI::App& app, train::EmbedOptions& e) {
  app.add_option("--weights", e.encoder, "Of the encoder (safetensors)");
  app.add_option("--encoder", e.encoder_name,
                 train::encoders_text() + "; for weights that do not say (torchvision's)");
  declare_earlier(app, "--backbone", "--encoder", e.encoder_name);
  app.add_option("--image-size", e.image_size, "Side of the images; 0: as the encoder was trained")
      ->capture_default_str();
  app.add_option("--device", e.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--precision", e.precision,
                 "fp32, tf32, bf16, fp16 or auto (fp32 on the CPU; on a card bf16 where it has it, "
                 "else tf32)")
      ->capture_default_str();
  app.add_option("--batch", e.batch, "Slices at once")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--workers", e.workers, "Decoding threads; 0: chosen")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_flag("--include-flagged", e.include_flagged,
               "Also cases with a truncated liver or doubtful depth");
}

void declare_embed(CLI::App& app, EvalOptions& o) {
  CLI::App* embed = o.embed_command =
      app.add_subcommand("embed", "Features of every slice of a dataset, without augmentation");
  embed->add_option("DATASET", o.embed.dataset, "Dataset directory")->required();
  declare_network(*embed, o.embed);
  declare_exclude(*embed, o.embed.exclude);
  embed->add_option("--out", o.out, "Feature file")->required();
  embed->add_flag(
      "--npy", o.npy,
      "Also OUT.npy/: features.npy, slices.tsv and facts.json, for other tools and for import");
  embed->add_flag("--projector", o.projector,
                  "Also OUT.tensorboard/: TensorBoard's embedding projector");
  embed->add_flag("--force", o.force, "Replace an earlier file");
}

void declare_import(CLI::App& app, EvalOptions& o) {
  CLI::App* import = o.import_command =
      app.add_subcommand("import", "Features that another tool made, into a feature file");
  import
      ->add_option("FEATURES", o.npy_file,
                   "Matrix of slices x features (numpy.save, float32 or float64)")
      ->required();
  import
      ->add_option(
          "SLICES", o.slices,
          "Table with one row per row of the matrix: case and slice, or subject and labels")
      ->required();
  import->add_option("--out", o.out, "Feature file")->required();
  import->add_option("--dataset", o.embed.dataset,
                     "Dataset of the slices: it knows subjects, labels and the rest");
  CLI::Option* name = import->add_option("--name", o.import.encoder,
                                         "What the encoder is called; one name, one encoder");
  declare_earlier(*import, "--encoder", "--name", o.import.encoder);
  import->add_option("--facts", o.import.facts, "facts.json of an export, in place of --name")
      ->excludes(name);
  import->add_flag("--include-flagged", o.embed.include_flagged,
                   "Also cases of the dataset with a truncated liver or doubtful depth");
  import->add_flag("--force", o.force, "Replace an earlier file");
}

void declare_probe(CLI::App& app, EvalOptions& o) {
  CLI::App* probe = o.probe_command =
      app.add_subcommand("probe", "Cross-validated logistic regression on frozen features");
  probe->add_option("FEATURES", o.features, "Feature files, one per dataset of one encoder")
      ->required();
  declare_diagnosis(*probe, o, true);
  probe
      ->add_option("--exclude", o.ratings,
                   "Ratings saved from the page of wsp-qa (TSV): cases rated exclude are left out; "
                   "with several feature files one each, repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  declare_folds(*probe, o);
  probe->add_option("--repeats", o.protocol.cv.repeats, "Times the folds are drawn anew")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  probe->add_option("--permutations", o.protocol.permutations, "Shuffles of the diagnoses; 0: none")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  probe
      ->add_option("--knn", o.protocol.cv.neighbours,
                   "Nearest neighbours instead of a regression: how many")
      ->check(CLI::Range(1, 100000))
      ->excludes("--C");
  probe->add_option(
      "--against", o.against,
      "Feature file of another encoder on the same single dataset: paired difference");
  probe->add_option(
      "--pretraining", o.pretraining,
      "Dataset that the encoder was trained on: subjects and volumes of both are refused");
  declare_overlap(*probe, o.allow_overlap);
  probe->add_flag("--no-shortcuts", o.no_shortcuts,
                  "Do not probe for spacing, pixel size, kernel, scanner, dataset");
  probe->add_option(
      "--figures", o.figures,
      "Directory for diagnostics-NAME.svg: ROC, calibration, decision curve, thresholds");
  CLI::Option* save = probe->add_option(
      "--save", o.save, "Also fit on all subjects and keep the probe for predict (P.json)");
  probe->add_option("--refits", o.refits, "Subject-bootstrap refits kept in P.json")
      ->check(CLI::Range(100, 100000))
      ->capture_default_str()
      ->needs(save);
  probe->add_flag("--force", o.force, "Replace an earlier P.json and figures");
}

void declare_pca(CLI::App& app, EvalOptions& o) {
  CLI::App* pca = o.pca_command =
      app.add_subcommand("pca", "The paper's figure 2, as SVG and PNG, with numbers");
  pca->add_option("FEATURES", o.features, "Feature file")->required()->expected(1);
  declare_diagnosis(*pca, o, false);
  pca->add_option("--out", o.out, "Directory for pca.svg and pca.json")->required();
  pca->add_flag("--force", o.force, "Replace an earlier figure");
  pca->add_option("--subjects", o.shown, "Subjects shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void declare_finetune(CLI::App& app, EvalOptions& o) {
  CLI::App* finetune = o.finetune_command =
      app.add_subcommand("finetune", "Train a network to tell the diagnosis, fold by fold");
  finetune->add_option("DATASET", o.finetune.dataset, "Dataset directory")->required();
  declare_diagnosis(*finetune, o, false);
  declare_exclude(*finetune, o.finetune.exclude);
  declare_folds(*finetune, o);
  train::TrainConfig& t = o.finetune.config;
  finetune
      ->add_option("--out", o.finetune.out,
                   "Directory of the folds' runs; folds that are complete are taken over")
      ->required();
  finetune->add_option("--init", o.finetune.init, "Encoder to start from (default: from scratch)");
  finetune->add_option("--encoder", t.encoder, train::encoders_text())->capture_default_str();
  finetune
      ->add_option("--norm", t.norm, "batch or group: ResNet's normalisation, as that of --init")
      ->capture_default_str();
  finetune->add_option("--image-size", t.image_size, "Side of the images")->capture_default_str();
  finetune->add_option("--batch", t.batch, "Slices per batch")->capture_default_str();
  finetune->add_option("--samples-per-epoch", t.samples_per_epoch, "Draws that make an epoch")
      ->capture_default_str();
  finetune->add_option("--epochs", t.epochs, "Epochs")->capture_default_str();
  finetune->add_option("--lr", t.learning_rate, "Learning rate")->capture_default_str();
  finetune->add_option("--device", o.finetune.device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  finetune
      ->add_option("--precision", t.precision,
                   "Of training and of the features scored: fp32, tf32, bf16, fp16 or auto")
      ->capture_default_str();
  declare_overlap(*finetune, o.finetune.allow_overlap);
  finetune->add_flag(
      "--force", o.finetune.force,
      "Replace an earlier finetune.json; begin folds anew that were trained with other options");
}

void declare_table(CLI::App& app, EvalOptions& o) {
  CLI::App* table = o.table_command = app.add_subcommand(
      "table", "Run a plan: pretrain, embed, probe, and write the paper's tables");
  table->add_option("PLAN", o.plan, "PLAN.json")->required();
  table->add_option(
      "--out", o.experiment.out,
      "Directory of cells and tables; what is complete there is taken over; needed but for --list");
  table->add_option("--root", o.experiment.root, "Where the plan's relative paths begin")
      ->capture_default_str();
  table->add_option("--device", o.experiment.device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  CLI::Option* job = table->add_option("--job", o.experiment.job, "Compute this cell only, from 0")
                         ->check(CLI::NonNegativeNumber);
  CLI::Option* tables_only =
      table
          ->add_flag("--tables-only", o.tables_only,
                     "Compute nothing: write the tables of the cells that are complete")
          ->excludes(job);
  table->add_flag("--force", o.experiment.force,
                  "Compute cells anew that another plan or other data forbid to take over");
  table->add_flag("--list", o.list, "Say which cells there are, and run nothing")
      ->excludes(job)
      ->excludes(tables_only);
}

void declare_predict(CLI::App& app, EvalOptions& o) {
  CLI::App* predict = o.predict_command =
      app.add_subcommand("predict", "A saved probe on new patients; research only");
  predict->add_option("DATASET", o.embed.dataset, "Dataset directory")->required();
  declare_network(*predict, o.embed);
  predict->add_option("--probe", o.probe, "P.json of wsp-eval probe --save")->required();
  predict->add_option("--out", o.out, "Directory for predictions.tsv and predictions.json")
      ->required();
  predict->add_flag("--force", o.force, "Replace earlier predictions");
}

}  // namespace

void declare_eval(CLI::App& app, EvalOptions& o) {
  app.require_subcommand(1);
  declare_embed(app, o);
  declare_import(app, o);
  declare_probe(app, o);
  declare_pca(app, o);
  declare_finetune(app, o);
  declare_table(app, o);
  declare_predict(app, o);
}

std::vector<train::Diagnosis> diagnoses(const EvalOptions& o) {
  if (o.labels.size() != o.positives.size())
    throw Error(ErrorCode::usage, fmt::format("{} --label and {} --positive: give as many of each",
                                              o.labels.size(), o.positives.size()));
  std::vector<train::Diagnosis> all;
  for (std::size_t i = 0; i < o.labels.size(); ++i)
    all.push_back({o.labels[i], o.positives[i], o.reader});
  return all;
}

train::Diagnosis one_diagnosis(const EvalOptions& o) {
  const auto all = diagnoses(o);
  if (all.size() > 1)
    throw Error(ErrorCode::usage, fmt::format("{} --label for one dataset: give one", all.size()));
  return all.front();
}

void set_c(EvalOptions& o) {
  if (o.c == "cv") {
    o.protocol.cv.c_grid = train::default_c_grid();
    return;
  }
  std::size_t used = 0;
  try {
    o.protocol.cv.c = std::stod(o.c, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != o.c.size() || !(o.protocol.cv.c > 0))
    throw Error(ErrorCode::usage, "--C is '" + o.c + "': expected a number above 0, or cv");
}

void refuse_existing(const fs::path& path, bool force) {
  if (fs::exists(path) && !force)
    throw Error(ErrorCode::output, path.string() + " exists: choose another place, or add --force");
}

void make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !fs::is_directory(path))
    throw Error(ErrorCode::output, fmt::format("cannot make the directory {}{}", path.string(),
                                               error ? ": " + error.message() : ": it is a file"));
}

void need_directory_of(const fs::path& file) {
  if (const fs::path directory = file.parent_path();
      !directory.empty() && !fs::is_directory(directory))
    throw Error(
        ErrorCode::output,
        fmt::format("cannot write {}: there is no directory {}; make it, or give another --out",
                    file.string(), directory.string()));
}

}  // namespace wsp
