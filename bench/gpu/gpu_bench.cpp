// Parts of a step on a card beside what they are measured against, in one process and in turns.
// Each command prints one JSON object. Everything runs on the CPU too, so that the program is known
// to work before it meets a card.
#include <fmt/format.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "card.hpp"
#include "parts.hpp"
#include "timer.hpp"
#include "train/model/cuda_kernels.hpp"
#include "train/model/fused_pooling.hpp"
#include "train/model/losses.hpp"
#include "train/model/method.hpp"
#include "train/pretrain/config.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/device.hpp"

namespace {

using namespace wsp;
using namespace wsp::train;
using wsp::bench::median;
using wsp::bench::Options;

torch::ScalarType type_of(const std::string& precision) {
  return precision == "bf16"   ? torch::kBFloat16
         : precision == "fp16" ? torch::kHalf
                               : torch::kFloat;
}

/// Medians of both sides, measured in turns, and by what ours is done.
template <class Ours, class Theirs>
nlohmann::json in_turns(const Options& o, const torch::Device& device, const std::string& by,
                        Ours&& ours, Theirs&& theirs) {
  const auto wait = [card = device.is_cuda() ? device.index() : wsp::bench::kNoCard] {
    wsp::bench::wait_for_card(card);
  };
  std::vector<double> first, second;
  for (int turn = 0; turn < o.turns; ++turn) {
    first.push_back(wsp::bench::milliseconds(wait, o.calls, ours));
    second.push_back(wsp::bench::milliseconds(wait, o.calls, theirs));
  }
  return {{"by", by}, {"ours_ms", median(first)}, {"theirs_ms", median(second)}};
}

/// Our kernels where this build has them and there is a card, through the functions of tensors that
/// wsp-train calls.
bool by_kernel(const Options& o, const torch::Device& device) {
  return !o.plain && device.is_cuda() && cuda_kernels_built();
}

// Both views of a batch, bytes counted once (int16 read, views written), beside a device-to-device
// copy.
nlohmann::json augmentation(const Options& o, const torch::Device& device) {
  const torch::Tensor hu = torch::randint(-100, 401, {o.batch, o.size, o.size},
                                          torch::TensorOptions(device).dtype(torch::kShort));
  std::vector<ViewParameters> drawn;
  for (const int view : {0, 1})
    for (std::int64_t i = 0; i < o.batch; ++i)
      drawn.push_back(draw_view({}, 1, 0, static_cast<std::uint64_t>(i), view));
  const bool kernel = by_kernel(o, device);
  const ViewDrawing how{kernel, kernel ? type_of(o.precision) : torch::kFloat};
  const std::int64_t written = how.type == torch::kFloat ? 4 : 2;
  const double bytes = static_cast<double>(o.batch * o.size * o.size * (2 + 2 * written));
  const torch::Tensor from = torch::zeros({static_cast<std::int64_t>(bytes) / 2},
                                          torch::TensorOptions(device).dtype(torch::kByte));
  torch::Tensor to = torch::empty_like(from);
  nlohmann::json found = in_turns(
      o, device, kernel ? "kernel" : "LibTorch", [&] { (void)draw_views(hu, drawn, how); },
      [&] { to.copy_(from); });  // reads and writes: the same bytes
  for (const char* side : {"ours", "theirs"})
    found[std::string(side) + "_GBps"] =
        bytes / found[std::string(side) + "_ms"].get<double>() / 1e6;
  return found;
}

// The loss of z [rows, dim] and its gradient, beside the three products that any way of computing
// it needs: the similarities, and the weights of the pairs with the rows, from both sides.
nlohmann::json loss(const Options& o, const torch::Device& device) {
  torch::manual_seed(1);
  const std::int64_t n = o.rows / 2;
  torch::Tensor z =
      torch::randn({o.rows, o.dim}, torch::TensorOptions(device)).to(type_of(o.precision));
  z.requires_grad_(true);
  Targets targets;
  targets.label = torch::arange(n, torch::kLong).remainder(4).to(device);
  targets.depth = torch::rand({n}, torch::kDouble).to(device);
  targets.value = 40 + 40 * torch::rand({n}, torch::kDouble).to(device);
  if (is_continuous(o.method) && o.method != "rnc") {
    targets.continuous = targets.value.unsqueeze(0);
    targets.continuous_sigma = {5};
  }
  const torch::Tensor rows = z.detach();
  // L^exp weighs as y-Aware does; Rank-N-Contrast does not weigh.
  const KernelOptions weights =
      contrastive_kernel(o.method == "lexp" ? "yaware" : o.method).value_or(KernelOptions{});
  const bool kernel = (o.method == "wsp" || o.method == "yaware") && by_kernel(o, device);
  const auto precision =
      o.precision == "fp32" ? ContrastivePrecision::exact : ContrastivePrecision::tensor;
  const auto value = [&] {
    if (o.method == "rnc") return rank_contrast_loss(z, targets, 2);
    if (o.method == "lexp") return weighted_repulsion_loss(z, targets, weights, 0.1);
    return kernel ? contrastive_loss_cuda(z, targets, weights, 0.1, precision)
                  : contrastive_loss(z, targets, weights, 0.1, o.tile);
  };
  nlohmann::json found = in_turns(
      o, device, kernel ? "kernel" : "LibTorch",
      [&] {
        z.mutable_grad().reset();
        value().backward();
      },
      [&] {
        // In tiles, as no N x N matrix need be in memory.
        for (std::int64_t at = 0; at < o.rows; at += o.tile) {
          const torch::Tensor part = rows.narrow(0, at, std::min(o.tile, o.rows - at));
          const torch::Tensor s = torch::mm(part, rows.t());
          (void)torch::mm(s, rows);
          (void)torch::mm(s.t(), part);
        }
      });
  found["loss"] = value().item<double>();
  return found;
}

// Bias, ReLU and pooling behind TinyNet's first convolution, both ways, beside LibTorch's
// operations.
nlohmann::json pooling(const Options& o, const torch::Device& device) {
  torch::manual_seed(1);
  const auto type = device.is_cuda() ? type_of(o.precision) : torch::kFloat;
  const std::int64_t side = o.size - 4;
  const torch::Tensor conv =
      torch::randn({2 * o.batch, o.channels, side, side}, torch::TensorOptions(device))
          .to(type)
          .contiguous(torch::MemoryFormat::ChannelsLast)
          .requires_grad_(true);
  const torch::Tensor bias =
      torch::randn({o.channels}, torch::TensorOptions(device)).requires_grad_(true);
  const auto clear = [&] {
    conv.mutable_grad().reset();
    bias.mutable_grad().reset();
  };
  const torch::Tensor gradient = torch::randn_like(torch::max_pool2d(conv.detach(), 2));
  return in_turns(
      o, device, device.is_cuda() ? "kernel" : "reference",
      [&] {
        clear();
        bias_relu_pool(conv, bias).backward(gradient);
      },
      [&] {
        clear();
        torch::max_pool2d(conv + bias.to(type).view({1, o.channels, 1, 1}), 2)
            .relu_()
            .backward(gradient);
      });
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Measures parts of a training step and of a segmentation on a device");
  app.add_option("--device", o.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--precision", o.precision, "fp32, bf16 or fp16")->capture_default_str();
  app.add_option("--turns", o.turns, "Turns, each of both sides")->capture_default_str();
  app.add_option("--calls", o.calls, "Calls in a turn")->capture_default_str();
  app.add_option("--size", o.size, "Side of the images")->capture_default_str();
  app.add_flag("--plain", o.plain, "By LibTorch where our kernels would be taken");
  app.fallthrough();
  auto* a =
      app.add_subcommand("augmentation", "Two views of a batch beside a copy of as many bytes");
  a->add_option("--batch", o.batch)->capture_default_str();
  auto* l = app.add_subcommand("loss", "The contrastive loss beside its matrix products");
  l->add_option("--rows", o.rows)->capture_default_str();
  l->add_option("--dim", o.dim)->capture_default_str();
  l->add_option("--tile", o.tile)->capture_default_str();
  l->add_option("--method", o.method, "wsp, yaware, lexp, rnc")
      ->check(CLI::IsMember({"wsp", "yaware", "lexp", "rnc"}))
      ->capture_default_str();
  auto* p = app.add_subcommand("pooling",
                               "Bias, ReLU and pooling in one pass beside LibTorch's operations");
  p->add_option("--batch", o.batch)->capture_default_str();
  p->add_option("--channels", o.channels)->capture_default_str();
  auto* u = app.add_subcommand("unet", "The ingest's segmenter beside the bare network");
  u->add_option("--slices", o.slices)->capture_default_str();
  u->add_option("--width", o.width)->capture_default_str();
  u->add_option("--depth", o.depth)->capture_default_str();
  auto* s = app.add_subcommand("layers", "The stages of a training step, each by itself");
  s->add_option("--encoder", o.encoder, "tinynet, resnet18, ...")->capture_default_str();
  s->add_option("--batch", o.batch)->capture_default_str();
  s->add_flag("--cuda-kernels", o.cuda_kernels, "As wsp-train's");
  auto* e = app.add_subcommand("embed", "Features of a dataset's slices beside the bare encoder");
  e->add_option("--dataset", o.dataset)->required();
  e->add_option("--encoder", o.encoder, "tinynet, resnet18, ...")->capture_default_str();
  e->add_option("--batch", o.batch)->capture_default_str();
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  try {
    if (u->parsed() || s->parsed() || e->parsed()) {
      const auto measure = u->parsed()   ? wsp::bench::unet_inference
                           : s->parsed() ? wsp::bench::layers
                                         : wsp::bench::embedding;
      fmt::print("{}\n", measure(o).dump());
      return 0;
    }
    const torch::Device device = choose_device(o.device, 0);
    prepare_algorithms(device, false);
    try_device(device);
    const nlohmann::json found = a->parsed()   ? augmentation(o, device)
                                 : l->parsed() ? loss(o, device)
                                               : pooling(o, device);
    fmt::print("{}\n", found.dump());
    return 0;
  } catch (const wsp::Error& error) {
    fmt::print(stderr, "gpu_bench: {}\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_bench: {}\n", readable_error(error).what());
    return 1;
  }
}
