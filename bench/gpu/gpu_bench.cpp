// Parts of a step on a card beside what they are measured against, in one process and in turns. Each command prints one JSON
// object. Everything runs on the CPU too, so that the program is known to work before it meets a card.
#include <fmt/format.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "timer.hpp"
#include "train/engine/device.hpp"
#include "train/engine/views.hpp"
#include "train/model/losses.hpp"
#include "train/model/unet.hpp"
#ifdef WSP_BENCH_CUDA_KERNELS
#include "train/kernels/augment_cuda.hpp"
#endif

namespace {

using namespace wsp::train;
using wsp::bench::median;
using wsp::bench::milliseconds;

struct Options {
  std::string device = "auto", precision = "bf16";
  std::int64_t batch = 64, size = 512, rows = 16384, dim = 128, tile = 2048, slices = 32, width = 32;
  int turns = 5, calls = 10, depth = 4;
};

torch::ScalarType type_of(const std::string& precision) {
  return precision == "bf16" ? torch::kBFloat16 : precision == "fp16" ? torch::kHalf : torch::kFloat;
}

torch::Tensor slices_of(std::int64_t n, std::int64_t size, const torch::Device& device) {
  return torch::randint(-100, 401, {n, size, size}, torch::TensorOptions(device).dtype(torch::kShort));
}

std::vector<ViewParameters> views_of(std::int64_t n) {
  std::vector<ViewParameters> drawn;
  for (int view = 0; view < 2; ++view)
    for (std::int64_t i = 0; i < n; ++i)
      drawn.push_back(draw_view({}, 1, 0, static_cast<std::uint64_t>(i), view));
  return drawn;
}

// Both views of a batch, bytes counted once (int16 read, views written), beside a device-to-device copy.
nlohmann::json augmentation(const Options& o, const torch::Device& device) {
  const torch::Tensor hu = slices_of(o.batch, o.size, device);
  const auto drawn = views_of(o.batch);
  std::string by = "plain LibTorch";
  std::int64_t written = 4;
  std::function<void()> draw = [&] { (void)draw_views(hu, drawn); };
#ifdef WSP_BENCH_CUDA_KERNELS
  torch::Tensor affine = torch::empty({2 * o.batch, 6}, torch::kFloat);
  torch::Tensor out;
  if (device.is_cuda()) {
    by = "kernel";
    written = o.precision == "fp32" ? 4 : 2;
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      const Affine a = compose_affine(drawn[i], o.size);
      std::copy(a.begin(), a.end(), affine.data_ptr<float>() + 6 * i);
    }
    affine = affine.to(device);
    out = torch::empty({2 * o.batch, 1, o.size, o.size},
                       torch::TensorOptions(device).dtype(type_of(o.precision)));
    const PixelType pixel = o.precision == "bf16"   ? PixelType::bf16
                            : o.precision == "fp16" ? PixelType::f16
                                                    : PixelType::f32;
    draw = [&, pixel] {
      const int code = augment_cuda(hu.data_ptr<std::int16_t>(), affine.data_ptr<float>(), o.batch, 2,
                                    o.size, pixel, out.data_ptr(), nullptr);
      if (code != 0) throw std::runtime_error(cuda_error_text(code));
    };
  }
#endif
  const double bytes = static_cast<double>(o.batch * o.size * o.size * (2 + 2 * written));
  const torch::Tensor from = torch::zeros({static_cast<std::int64_t>(bytes) / 2},
                                          torch::TensorOptions(device).dtype(torch::kByte));
  torch::Tensor to = torch::empty_like(from);
  std::vector<double> ours, copy;
  for (int turn = 0; turn < o.turns; ++turn) {
    ours.push_back(milliseconds(device, 1, o.calls, draw));
    copy.push_back(milliseconds(device, 1, o.calls, [&] { to.copy_(from); }));  // reads and writes: the same bytes
  }
  return {{"by", by}, {"ours_ms", median(ours)}, {"theirs_ms", median(copy)},
          {"ours_GBps", bytes / median(ours) / 1e6}, {"theirs_GBps", bytes / median(copy) / 1e6}};
}

// The loss of z [rows, dim] and its gradient, beside the three products that any way of computing it needs: the
// similarities, and the weights of the pairs with the rows, from both sides.
nlohmann::json loss(const Options& o, const torch::Device& device) {
  torch::manual_seed(1);
  const std::int64_t n = o.rows / 2;
  torch::Tensor z = torch::randn({o.rows, o.dim}, torch::TensorOptions(device)).to(type_of(o.precision));
  z.requires_grad_(true);
  Targets targets;
  targets.label = torch::arange(n, torch::kLong).remainder(4).to(device);
  targets.depth = torch::rand({n}, torch::kDouble).to(device);
  const torch::Tensor rows = z.detach();
  std::vector<double> ours, products;
  double value = 0;
  for (int turn = 0; turn < o.turns; ++turn) {
    ours.push_back(milliseconds(device, 1, o.calls, [&] {
      z.mutable_grad().reset();
      const torch::Tensor l = contrastive_loss(z, targets, {}, 0.1, o.tile);
      l.backward();
      value = turn == 0 ? l.item<double>() : value;
    }));
    products.push_back(milliseconds(device, 1, o.calls, [&] {
      // In tiles, as no N x N matrix need be in memory.
      for (std::int64_t at = 0; at < o.rows; at += o.tile) {
        const torch::Tensor part = rows.narrow(0, at, std::min(o.tile, o.rows - at));
        const torch::Tensor s = torch::mm(part, rows.t());
        (void)torch::mm(s, rows);
        (void)torch::mm(s.t(), part);
      }
    }));
  }
  return {{"ours_ms", median(ours)}, {"theirs_ms", median(products)}, {"loss", value}};
}

// Probabilities of slices that come from and return to the host, beside the bare network on slices that are there.
nlohmann::json unet(const Options& o, const torch::Device& device) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  UNetOptions options;
  options.width = o.width;
  options.depth = o.depth;
  auto net = std::make_shared<UNet>(options);
  net->eval();
  net->to(device);
  const torch::Tensor host = slices_of(o.slices, o.size, torch::kCPU);
  const torch::Tensor input =
      torch::rand({o.slices, options.channels(), o.size, o.size}, torch::TensorOptions(device));
  std::vector<double> ours, bare;
  for (int turn = 0; turn < o.turns; ++turn) {
    ours.push_back(milliseconds(device, 1, o.calls, [&] {
      const Autocast autocast(device, device.is_cuda() ? o.precision : "fp32");
      const torch::Tensor hu = host.to(device, /*non_blocking=*/true);
      torch::Tensor x = plain_views(hu).expand({-1, options.channels(), -1, -1});
      (void)torch::sigmoid(net->forward(x)).to(torch::kCPU, torch::kFloat);
    }));
    bare.push_back(milliseconds(device, 1, o.calls, [&] {
      const Autocast autocast(device, device.is_cuda() ? o.precision : "fp32");
      (void)net->forward(input);
    }));
  }
  return {{"ours_ms", median(ours)}, {"theirs_ms", median(bare)}};
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
  app.fallthrough();
  auto* a = app.add_subcommand("augmentation", "Two views of a batch beside a copy of as many bytes");
  a->add_option("--batch", o.batch)->capture_default_str();
  auto* l = app.add_subcommand("loss", "The contrastive loss beside its matrix products");
  l->add_option("--rows", o.rows)->capture_default_str();
  l->add_option("--dim", o.dim)->capture_default_str();
  l->add_option("--tile", o.tile)->capture_default_str();
  auto* u = app.add_subcommand("unet", "U-Net inference beside the bare network");
  u->add_option("--slices", o.slices)->capture_default_str();
  u->add_option("--width", o.width)->capture_default_str();
  u->add_option("--depth", o.depth)->capture_default_str();
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  try {
    const torch::Device device = choose_device(o.device, 0);
    prepare_algorithms(device, false);
    try_device(device);
    const nlohmann::json found = a->parsed()   ? augmentation(o, device)
                                 : l->parsed() ? loss(o, device)
                                               : unet(o, device);
    fmt::print("{}\n", found.dump());
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "gpu_bench: {}\n", readable_error(e).what());
    return 1;
  }
}
