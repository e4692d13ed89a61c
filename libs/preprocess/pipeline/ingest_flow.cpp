#include <tbb/global_control.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/progress.hpp"
#include "preprocess/pipeline/case_key.hpp"
#include "preprocess/pipeline/earlier_run.hpp"
#include "preprocess/pipeline/ingest_job.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// A volume in flight: int16 HU, uint8 mask, int32 components, working copies.
constexpr std::uint64_t kBytesPerVoxel = 12;
// A prediction beside it: probabilities on the model's grid (16 bit) and on the volume's, its mask.
constexpr std::uint64_t kBytesPerPredictedVoxel = 4;

std::uint64_t cost_of(const Series& series, bool predicted) {
  constexpr double kMost = 1e18;  // hostile headers ask for more than an integer holds
  return static_cast<std::uint64_t>(std::min(
      kMost, volume_voxels(series) * (kBytesPerVoxel + (predicted ? kBytesPerPredictedVoxel : 0))));
}

}  // namespace

std::uint64_t IngestJob::cost(const CasePlan& plan) const {
  return cost_of(scan_.series[plan.series],
                 may_ask_model(options_.segmenter, options_.config, plan)) +
         static_cast<std::uint64_t>(std::min(1e18, plan.mask_bytes));
}

std::uint64_t IngestJob::largest_cost() const {
  std::uint64_t largest = 1;
  for (const CasePlan& plan : plan_.cases) largest = std::max(largest, cost(plan));
  return largest;
}

Outcome<CaseInHand> IngestJob::read_surely(const CaseInputs& inputs, const CasePlan& plan) {
  auto hand = read_case(inputs, plan);
  if (hand || !may_be_the_disk(hand.rejection().code)) return hand;
  const auto key = [&] { return case_key(inputs, plan, config_hash_); };
  const auto before = plan.key.empty() ? key() : plan.key;
  hand = read_case(inputs, plan);
  if (key() != before)
    throw Error(ErrorCode::failure,
                "files of case " + plan.name +
                    " changed while they were read. Run the same command again to go on");
  return hand;
}

void IngestJob::process() {
  const std::vector<fs::path>& states = output_->standing().states;
  const CaseInputs inputs{scan_,
                          options_.config,
                          manifest_,
                          options_.segmenter,
                          cache_ ? &*cache_ : nullptr,
                          true,
                          segs_ ? &*segs_ : nullptr,
                          cases_at_once()};
  for (std::size_t i = 0; i < scan_.files.size(); ++i)
    file_by_hash_[naming_.path(scan_.files[i].relative_path)] = i;
  warn_of_large_shards();
  Progress progress("ingest", plan_.cases.size(), "cases");
  std::size_t number = 0;
  int shard = -1;  // of the case that was begun last
  std::shared_ptr<EarlierCases> earlier;
  FlowStages stages;
  stages.next = [&]() -> std::shared_ptr<FlowItem> {
    if (number == plan_.cases.size() || interrupt_signal() != 0) return nullptr;
    auto item = std::make_shared<FlowItem>();
    item->plan = plan_.cases[number];
    item->number = number++;
    const int its = shard_of(item->plan.name, options_.config.shards);
    if (std::exchange(shard, its) != its)
      earlier = std::make_shared<EarlierCases>(load_earlier_cases(states, its));
    item->context = earlier;
    return item;
  };
  stages.read = [&](FlowItem& item) {
    auto& its_earlier = *std::static_pointer_cast<EarlierCases>(item.context);
    // Where nothing stands that it could be, the case is hashed as it is read.
    const bool stands = its_earlier.contains(item.plan.name);
    if (stands) item.plan.key = case_key(inputs, item.plan, config_hash_);
    auto taken = take_over(states, its_earlier, item.plan, file_by_hash_);
    if (taken && !lacks_seg(item.plan, *taken)) {
      ++reused_;
      item.result.emplace(std::move(*taken));
      return;
    }
    auto hand = read_surely(inputs, item.plan);
    if (!hand) {
      item.result.emplace(hand.rejection());
      return;
    }
    if (!stands) item.plan.key = case_key(inputs, item.plan, config_hash_, &hand.value().loaded);
    item.hand.emplace(std::move(hand).value());
  };
  stages.predict = [&](FlowItem& item) { predict_case(inputs, *item.hand); };
  stages.finish = [&](FlowItem& item) {
    if (!item.result) item.result.emplace(finish_case(inputs, item.plan, std::move(*item.hand)));
  };
  stages.collect = [&](FlowItem& item) {
    shards_->write_before(shard_of(item.plan.name, options_.config.shards));
    collect(item);
    progress.advance();
  };
  run_flow(stages, cases_at_once(), waits_for_device());
  if (interrupt_signal() != 0) shards_->keep_finished();
  stop_if_interrupted("run the same command again to go on");
  shards_->write_before(options_.config.shards);
  shards_->wait();
  summary_.reused_cases = reused_;
  if (segs_) summary_.written_segs = segs_->written();
}

bool IngestJob::lacks_seg(const CasePlan& plan, const CaseProduct& taken) const {
  return segs_ && scan_.series[plan.series].is_dicom &&
         taken.provenance.at("mask").at("source") == "segmenter" && !segs_->holds(plan);
}

bool IngestJob::waits_for_device() const {
  return options_.segmenter != nullptr && !options_.segmenter->concurrent();
}

std::size_t IngestJob::cases_at_once() const {
  const std::size_t threads =
      tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  constexpr std::size_t kForDevice = kCasesOnDevice + 2;  // waiting for it, in it, coming from it
  return std::clamp<std::size_t>(static_cast<std::size_t>((memory_ - kept_) / largest_cost()), 1,
                                 threads + 1 + (waits_for_device() ? kForDevice : 0));
}

void IngestJob::dispose(const std::vector<std::pair<std::size_t, Code>>& files,
                        const std::string& name) {
  for (const auto& [file, code] : files) {
    const bool its_own = info(code).kind == CodeKind::used || code == Code::DUPLICATE_FILE;
    plan_.files[file] = {code, its_own ? name : "", ""};
  }
}

void IngestJob::take(Forecast& forecast, const CasePlan& plan, CaseVerdict verdict) {
  taken_.count(plan.name, plan.subject, verdict.flags,
               verdict.open ? 0 : static_cast<std::size_t>(verdict.kept.count()));
  forecast.taken.emplace(plan.series, std::move(verdict));
}

void IngestJob::trust_headers(Forecast& forecast) {
  for (const CasePlan& plan : plan_.cases) take(forecast, plan, {true, "", plan.flags});
}

void IngestJob::judge_cases(Forecast& forecast) {
  const CaseInputs inputs{scan_, options_.config, manifest_, options_.segmenter, nullptr, false};
  Progress progress("judging", plan_.cases.size(), "cases");
  std::size_t number = 0;
  std::vector<CaseVerdict> verdicts(plan_.cases.size());
  std::vector<std::vector<std::pair<std::size_t, Code>>> files(plan_.cases.size());
  FlowStages stages;
  stages.next = [&]() -> std::shared_ptr<FlowItem> {
    if (number == plan_.cases.size() || interrupt_signal() != 0) return nullptr;
    auto item = std::make_shared<FlowItem>();
    item->plan = plan_.cases[number];
    item->number = number++;
    return item;
  };
  stages.read = [&](FlowItem& item) {
    auto hand = read_case(inputs, item.plan);
    if (hand)
      item.hand.emplace(std::move(hand).value());
    else
      item.result.emplace(hand.rejection());
  };
  stages.predict = [](FlowItem&) {};  // its answer is open
  stages.finish = [&](FlowItem& item) {
    if (item.result) return;
    for (const std::size_t f : item.hand->loaded.duplicate_files)
      files[item.number].emplace_back(f, Code::DUPLICATE_FILE);
    if (!item.hand->given) {
      verdicts[item.number] = {true, "model", item.plan.flags};
      return;
    }
    auto outcome = judge_case(inputs, item.plan, std::move(*item.hand));
    if (!outcome) {
      item.result.emplace(outcome.rejection());
      return;
    }
    const JudgedCase& judged = outcome.value();
    const auto& of_masks = judged.liver.files;
    files[item.number].insert(files[item.number].begin(), of_masks.begin(), of_masks.end());
    verdicts[item.number] = {false,
                             judged.measured.mask_source,
                             judged.flags,
                             judged.liver_ml,
                             judged.loaded.volume.geometry.size[2],
                             judged.measured.extent,
                             judged.measured.kept};
  };
  stages.collect = [&](FlowItem& item) {
    progress.advance();
    if (item.result) return reject(item.plan, item.result->rejection());
    dispose(files[item.number], item.plan.name);
    take(forecast, item.plan, std::move(verdicts[item.number]));
  };
  run_flow(stages, cases_at_once(), false);
  stop_if_interrupted("nothing was written; run the same command again");
}

void IngestJob::collect(FlowItem& item) {
  if (!item.result->ok()) {
    reject(item.plan, item.result->rejection());
    return;
  }
  CaseProduct product = std::move(*item.result).value();
  dispose(product.files, product.record.name);
  nlohmann::json files = nlohmann::json::array();
  for (const auto& [file, code] : product.files)
    files.push_back({naming_.path(scan_.files[file].relative_path), to_string(code)});
  product.provenance["ledger"] = std::move(files);
  if (auto row = comparison_of(product.provenance))
    comparisons_.emplace(product.record.name, std::move(*row));
  shards_->add(std::move(product));
}

}  // namespace wsp
