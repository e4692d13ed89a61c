#include <torch/torch.h>

#include "card.hpp"
#include "parts.hpp"
#include "scratch.hpp"
#include "timer.hpp"
#include "train/eval/embed.hpp"
#include "train/model/encoder.hpp"
#include "train/run/device.hpp"

namespace wsp::bench {

using namespace wsp::train;

nlohmann::json embedding(const Options& o) {
  const torch::NoGradGuard no_grad;
  const torch::Device device = choose_device(o.device, 0);
  const int card = device.is_cuda() ? device.index() : kNoCard;
  const std::string precision = device.is_cuda() ? o.precision : "fp32";
  const Scratch scratch;
  const auto encoder = make_encoder({o.encoder});
  EmbedOptions how;
  how.dataset = o.dataset;
  how.encoder = scratch.path() / "encoder.safetensors";
  how.image_size = o.size;
  how.device = o.device;
  how.precision = precision;
  how.threads = at::get_num_threads();
  how.batch = o.batch;
  save_encoder_weights(*encoder, how.encoder, {});
  const auto slices = static_cast<std::int64_t>(embed_dataset(how).case_id.size());

  encoder->to(device);
  encoder->eval();
  if (use_channels_last("auto", device, precision)) make_channels_last(*encoder);
  const torch::Tensor input =
      torch::rand({o.batch, 1, o.size, o.size}, torch::TensorOptions(device));
  const auto wait = [card] { wait_for_card(card); };
  const int calls = std::max(1, o.calls / 5);
  std::vector<double> ours, bare;
  for (int turn = 0; turn < o.turns; ++turn) {
    ours.push_back(milliseconds(wait, calls, [&] { (void)embed_dataset(how); }));
    bare.push_back(milliseconds(wait, calls, [&] {
      const Autocast autocast(device, precision);
      for (std::int64_t at = 0; at < slices; at += o.batch)
        (void)encoder->forward(input.narrow(0, 0, std::min(o.batch, slices - at)));
    }));
  }
  return {{"by", "embed_dataset, " + precision},
          {"slices", slices},
          {"ours_ms", median(ours)},
          {"theirs_ms", median(bare)}};
}

}  // namespace wsp::bench
