#include "train/run/run_log.hpp"

#include <nlohmann/json.hpp>

#include "io/core/log.hpp"
#include "io/core/png.hpp"
#include "train/run/metrics.hpp"
#include "train/run/tensorboard.hpp"

namespace wsp::train {
namespace {

std::span<const std::uint8_t> pixels_of(const torch::Tensor& sheet) {
  return {sheet.data_ptr<std::uint8_t>(), static_cast<std::size_t>(sheet.numel())};
}

}  // namespace

torch::Tensor view_sheet(const torch::Tensor& hu, const torch::Tensor& views, std::int64_t count) {
  const std::int64_t n = hu.size(0), s = hu.size(1);
  count = std::min(count, n);
  const torch::Tensor source =
      hu.narrow(0, 0, count).to(torch::kCPU, torch::kFloat).add(100).div(500);
  const torch::Tensor both = views.detach().to(torch::kCPU, torch::kFloat).view({2, n, s, s});
  const torch::Tensor row = torch::cat(
      {source, both[0].narrow(0, 0, count), both[1].narrow(0, 0, count)}, 2);  // [count, s, 3 s]
  return row.clamp(0, 1).mul(255).round().to(torch::kByte).reshape({count * s, 3 * s}).contiguous();
}

struct RunLog::State {
  MetricsWriter metrics;
  std::unique_ptr<EventWriter> events;
};

RunLog::RunLog(const std::filesystem::path& run, bool tensorboard, bool resumed, std::int64_t step)
    : state_(new State{
          MetricsWriter(run / "metrics.jsonl", resumed ? std::optional(step) : std::nullopt),
          nullptr}) {
  if (tensorboard && !tensorboard_available())
    log::warn(
        "no TensorBoard files: this build has no protobuf; metrics.jsonl has the same numbers");
  else if (tensorboard)
    state_->events = std::make_unique<EventWriter>(
        run / "tensorboard", resumed ? std::optional(step + 1) : std::nullopt);
}

RunLog::~RunLog() = default;

void RunLog::add(const std::string& kind, std::int64_t step, const Fields& fields) {
  std::vector<std::pair<std::string, MetricValue>> line{{"kind", kind}};
  line.insert(line.end(), fields.begin(), fields.end());
  state_->metrics.write(step, line);
  if (!state_->events) return;
  for (const auto& [name, value] : fields) {
    const std::string tag = kind + "/" + name;
    if (const auto* real = std::get_if<double>(&value))
      state_->events->add_scalar(tag, step, *real);
    else if (const auto* whole = std::get_if<std::int64_t>(&value))
      state_->events->add_scalar(tag, step, static_cast<double>(*whole));
  }
}

void RunLog::add_views(std::int64_t step, const torch::Tensor& hu, const torch::Tensor& views,
                       const std::string& tag) {
  if (!state_->events || !png_available()) return;
  const torch::Tensor sheet = view_sheet(hu, views, 4);
  state_->events->add_image(tag, step, sheet.size(1), sheet.size(0), pixels_of(sheet));
}

void RunLog::set_projection(const torch::Tensor& points, const std::vector<std::string>& columns,
                            const std::vector<std::vector<std::string>>& rows) {
  if (!state_->events) return;
  const torch::Tensor flat = points.to(torch::kCPU, torch::kFloat).contiguous();
  Projection projection;
  projection.name = "held-back";
  projection.dim = flat.size(1);
  projection.points.assign(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  projection.columns = columns;
  projection.rows = rows;
  state_->events->set_projection(projection);
}

void RunLog::text(const std::string& tag, const std::string& markdown) {
  if (state_->events) state_->events->add_text(tag, 0, markdown);
}

void RunLog::flush() {
  state_->metrics.sync();
  if (state_->events) state_->events->flush();
}

}  // namespace wsp::train
