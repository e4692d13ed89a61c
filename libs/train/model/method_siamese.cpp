#include <array>
#include <cmath>
#include <numbers>

#include "train/model/method_parts.hpp"

/// Methods that predict the embedding of one view from the other: BYOL, SimSiam and their
/// kernel-weighted forms. Both put out {prediction, target without gradient}.
namespace wsp::train {
namespace {

using torch::Tensor;
using Outputs = std::vector<Tensor>;

bool batch_norm(const Encoder& encoder) { return encoder.options().norm == Norm::batch; }

/// Both directions, averaged: view 1 predicts the target of view 2, view 2 that of view 1.
class Siamese : public Method {
 public:
  Siamese(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Method(options, std::move(encoder)) {}

  Tensor loss(const Outputs& outputs, const Targets& targets) override {
    const auto [p1, p2] = two_views(outputs.at(0));
    const auto [z1, z2] = two_views(outputs.at(1));
    return (kernel_regression_loss(p1, z2, targets, options_.kernel) +
            kernel_regression_loss(p2, z1, targets, options_.kernel)) /
           2;
  }
  [[nodiscard]] std::size_t embedding_output() const override { return 1; }
  [[nodiscard]] bool needs_labels() const override { return options_.kernel.use_label; }
};

/// Grill et al., Bootstrap your own latent. As there, projector and predictor are perceptrons with
/// one batch-normalised hidden layer of the same width, here half of the representation; targets
/// are the projections of a second network, a moving average of the first.
class Byol final : public Siamese {
 public:
  Byol(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Siamese(options, std::move(encoder)),
        projector_(register_module("projector", make_projector(*encoder_, true))),
        predictor_(register_module(
            "predictor",
            make_mlp({encoder_->latent(), encoder_->representation() / 2, encoder_->latent()},
                     batch_norm(*encoder_)))),
        target_encoder_(register_module("target_encoder", make_encoder(encoder_->options()))),
        target_projector_(register_module("target_projector", make_projector(*encoder_, true))) {
    for (torch::nn::Module* module : targets_of())
      for (auto& parameter : module->parameters()) parameter.set_requires_grad(false);
    follow(0);
  }

  Outputs forward(const Tensor& views) override {
    const Tensor prediction = predictor_->forward(projector_->forward(encoder_->forward(views)));
    const torch::NoGradGuard no_grad;
    return {prediction, target_projector_->forward(target_encoder_->forward(views))};
  }

  void after_step(double progress) override {
    const double cosine = (std::cos(std::numbers::pi * progress) + 1) / 2;
    follow(1 - (1 - options_.momentum) * cosine);
  }

 private:
  std::array<torch::nn::Module*, 2> targets_of() {
    return {target_encoder_.get(), target_projector_.ptr().get()};
  }

  /// target = momentum * target + (1 - momentum) * online, for weights and running statistics.
  void follow(double momentum) {
    const torch::NoGradGuard no_grad;
    const auto blend = [momentum](const std::vector<Tensor>& to, const std::vector<Tensor>& from) {
      for (std::size_t i = 0; i < to.size(); ++i) {
        if (momentum == 0 || !to[i].is_floating_point())
          to[i].copy_(from[i]);
        else
          to[i].lerp_(from[i], 1 - momentum);
      }
    };
    const auto blend_all = [&](const torch::nn::Module& to, const torch::nn::Module& from) {
      blend(to.parameters(), from.parameters());
      blend(to.buffers(), from.buffers());
    };
    blend_all(*target_encoder_, *encoder_);
    blend_all(*target_projector_, *projector_);
  }

  torch::nn::Sequential projector_, predictor_;
  std::shared_ptr<Encoder> target_encoder_;
  torch::nn::Sequential target_projector_;
};

/// Chen and He, Exploring simple Siamese representation learning. As there, the projector ends in a
/// batch normalisation without weights of its own, and the predictor is a bottleneck of a quarter
/// of the latent size; the target is the projection of the same network without gradient.
class SimSiam final : public Siamese {
 public:
  SimSiam(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Siamese(options, std::move(encoder)), projector_(make_projector(*encoder_, true)) {
    const std::int64_t latent = encoder_->latent();
    if (batch_norm(*encoder_))
      projector_->push_back(
          torch::nn::BatchNorm1d(torch::nn::BatchNorm1dOptions(latent).affine(false)));
    register_module("projector", projector_);
    predictor_ =
        register_module("predictor", make_mlp({latent, latent / 4, latent}, batch_norm(*encoder_)));
  }

  Outputs forward(const Tensor& views) override {
    const Tensor z = projector_->forward(encoder_->forward(views));
    return {predictor_->forward(z), z.detach()};
  }

 private:
  torch::nn::Sequential projector_, predictor_{nullptr};
};

}  // namespace

MethodPtr make_byol(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<Byol>(options, std::move(encoder));
}

MethodPtr make_simsiam(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<SimSiam>(options, std::move(encoder));
}

}  // namespace wsp::train
