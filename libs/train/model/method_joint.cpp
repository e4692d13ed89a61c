#include "io/core/error.hpp"
#include "train/model/cuda_kernels.hpp"
#include "train/model/method_parts.hpp"

/// Methods that embed both views with one network: contrastive, Barlow Twins, and the two
/// baselines.
namespace wsp::train {
namespace {

using torch::Tensor;
using Outputs = std::vector<Tensor>;

/// WSP, SimCLR, SupCon, depth-Aware and y-Aware, which differ in the kernel only. Puts out {z}.
class Contrastive : public Method {
 public:
  Contrastive(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Method(options, std::move(encoder)),
        projector_(register_module("projector", make_projector(*encoder_, false))) {}

  Outputs forward(const Tensor& views) override {
    return {projector_->forward(encoder_->forward(views))};
  }
  Tensor loss(const Outputs& outputs, const Targets& targets) override {
    if (options_.cuda_loss)
      return contrastive_loss_cuda(outputs.at(0), targets, options_.kernel, options_.temperature,
                                   *options_.cuda_loss);
    return contrastive_loss(outputs.at(0), targets, options_.kernel, options_.temperature,
                            options_.loss_tile);
  }
  [[nodiscard]] bool needs_labels() const override { return options_.kernel.use_label; }

 private:
  torch::nn::Sequential projector_;
};

/// L^exp (Barbano et al. 2023): y-Aware whose repulsion is weighted too. Puts out {z}.
class WeightedRepulsion final : public Contrastive {
 public:
  using Contrastive::Contrastive;
  Tensor loss(const Outputs& outputs, const Targets& targets) override {
    return weighted_repulsion_loss(outputs.at(0), targets, options_.kernel, options_.temperature,
                                   options_.loss_tile);
  }
};

/// Rank-N-Contrast (Zha et al. 2023), on the representation itself, as in its paper: without a
/// projection head. Puts out {representation}.
class RankContrast final : public Method {
 public:
  RankContrast(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Method(options, std::move(encoder)) {}

  Outputs forward(const Tensor& views) override { return {encoder_->forward(views)}; }
  Tensor loss(const Outputs& outputs, const Targets& targets) override {
    return rank_contrast_loss(outputs.at(0), targets, options_.temperature, options_.loss_tile);
  }
};

/// Zbontar et al., Barlow Twins, and its kernel-weighted form. Puts out {z}. The paper projects to
/// four times the representation; the head here is the one of all methods, since a correlation
/// matrix of thousands of columns cannot be estimated from batches of this size.
class BarlowTwins final : public Method {
 public:
  BarlowTwins(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Method(options, std::move(encoder)),
        projector_(register_module("projector", make_projector(*encoder_, true))) {}

  Outputs forward(const Tensor& views) override {
    return {projector_->forward(encoder_->forward(views))};
  }
  Tensor loss(const Outputs& outputs, const Targets& targets) override {
    const auto [z1, z2] = two_views(outputs.at(0));
    return kernel_barlow_loss(z1, z2, targets, options_.kernel, options_.barlow_lambda);
  }
  [[nodiscard]] bool needs_labels() const override { return options_.kernel.use_label; }

 private:
  torch::nn::Sequential projector_;
};

/// Cross-entropy of a linear classifier over the labelled slices, both views of each. Puts out
/// {logits, representation without gradient}.
class Supervised final : public Method {
 public:
  Supervised(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Method(options, std::move(encoder)),
        classifier_(register_module(
            "classifier", torch::nn::Linear(encoder_->representation(), options.classes))) {}

  Outputs forward(const Tensor& views) override {
    const Tensor representation = encoder_->forward(views);
    return {classifier_(representation), representation.detach()};
  }
  Tensor loss(const Outputs& outputs, const Targets& targets) override {
    const Tensor& logits = outputs.at(0);
    const Tensor label = targets.label.repeat({2});
    if (label.is_cpu() && label.numel() > 0 && label.max().item<std::int64_t>() >= options_.classes)
      throw Error(ErrorCode::usage, "label " + std::to_string(label.max().item<std::int64_t>()) +
                                        " is not one of the " + std::to_string(options_.classes) +
                                        " classes");
    // A sum and a count, since the mean over no labelled slice is not a number.
    const Tensor sum = torch::nn::functional::cross_entropy(
        logits.to(torch::promote_types(logits.scalar_type(), torch::kFloat)), label,
        torch::nn::functional::CrossEntropyFuncOptions().ignore_index(-1).reduction(torch::kSum));
    return sum / label.ne(-1).sum().clamp_min(1);
  }
  [[nodiscard]] std::size_t embedding_output() const override { return 1; }
  [[nodiscard]] bool needs_labels() const override { return true; }

 private:
  torch::nn::Linear classifier_;
};

/// The encoder as it was initialised or loaded. Puts out {representation}.
class Random final : public Method {
 public:
  Random(const MethodOptions& options, std::shared_ptr<Encoder> encoder)
      : Method(options, std::move(encoder)) {}

  Outputs forward(const Tensor& views) override { return {encoder_->forward(views)}; }
  Tensor loss(const Outputs&, const Targets&) override {
    throw Error(ErrorCode::failure, "the method 'random' is not trained and has no loss");
  }
  [[nodiscard]] bool trains() const override { return false; }
};

}  // namespace

MethodPtr make_contrastive(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<Contrastive>(options, std::move(encoder));
}

MethodPtr make_weighted_repulsion(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<WeightedRepulsion>(options, std::move(encoder));
}

MethodPtr make_rank_contrast(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<RankContrast>(options, std::move(encoder));
}

MethodPtr make_barlow(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<BarlowTwins>(options, std::move(encoder));
}

MethodPtr make_supervised(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  if (options.classes < 2)
    throw Error(ErrorCode::usage, "the supervised method needs two or more classes, found " +
                                      std::to_string(options.classes));
  return std::make_unique<Supervised>(options, std::move(encoder));
}

MethodPtr make_random(const MethodOptions& options, std::shared_ptr<Encoder> encoder) {
  return std::make_unique<Random>(options, std::move(encoder));
}

}  // namespace wsp::train
