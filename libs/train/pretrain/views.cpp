#include "train/pretrain/views.hpp"

#include "train/model/cuda_kernels.hpp"
#include "train/run/device.hpp"

namespace wsp::train {

torch::Tensor plain_views(const torch::Tensor& hu) {
  return hu.unsqueeze(1).to(torch::kFloat).add_(100).mul_(1.0 / 500);
}

torch::Tensor draw_views(const torch::Tensor& hu, std::span<const ViewParameters> parameters,
                         const ViewDrawing& drawing) {
  const std::int64_t n = hu.size(0), size = hu.size(1);
  const auto views = static_cast<std::int64_t>(parameters.size()) / n;
  std::vector<Affine> affine(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i)
    affine[i] = compose_affine(parameters[i], size);
  if (hu.is_cpu()) {
    const torch::Tensor source = hu.contiguous();
    torch::Tensor out = torch::empty({views * n, 1, size, size}, torch::kFloat);
    augment_cpu(source.data_ptr<std::int16_t>(), affine.data(), n, views, size,
                out.data_ptr<float>());
    return out;
  }
  if (drawing.cuda_kernel) return draw_views_cuda(hu, affine, drawing.type);
  // Torch's sampler counts from -1 to 1 over the image's outer edges: pixel p is (2p + 1) / size
  // - 1.
  torch::Tensor theta = torch::empty({views * n, 2, 3}, torch::kFloat);
  auto t = theta.accessor<float, 3>();
  const auto scale = static_cast<float>(size);
  for (std::int64_t i = 0; i < views * n; ++i)
    for (std::int64_t row = 0; row < 2; ++row) {
      const Affine& a = affine[static_cast<std::size_t>(i)];
      const auto at = static_cast<std::size_t>(3 * row);
      t[i][row][0] = a[at];
      t[i][row][1] = a[at + 1];
      // source = a0 (scale (u + 1) - 1) / 2 + a1 (...) + a2, then back to -1..1
      t[i][row][2] = (a[at] + a[at + 1]) * (1 - 1 / scale) + 2 * a[at + 2] / scale + 1 / scale - 1;
    }
  namespace F = torch::nn::functional;
  const ExactProducts exact;  // affine_grid is one
  const torch::Tensor grid =
      F::affine_grid(send(theta, hu.device()), {views * n, 1, size, size}, false);
  const torch::Tensor source = plain_views(hu).repeat({views, 1, 1, 1});
  return F::grid_sample(source, grid,
                        F::GridSampleFuncOptions()
                            .mode(torch::kBilinear)
                            .padding_mode(torch::kZeros)
                            .align_corners(false));
}

}  // namespace wsp::train
