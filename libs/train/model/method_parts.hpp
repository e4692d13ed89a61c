#pragma once
#include <memory>
#include <utility>

#include "train/model/method.hpp"

/// The classes of methods, one source each; not for users of the library.
namespace wsp::train {

/// The projection head: representation, half of it, latent. `batch_norm` asks for batch
/// normalisation of the hidden layer, which is left out where the encoder has group normalisation:
/// there no sample may depend on another, so that micro-batches give the gradient of the whole
/// batch.
torch::nn::Sequential make_projector(const Encoder& encoder, bool batch_norm);

/// The rows of view 1 and of view 2.
std::pair<torch::Tensor, torch::Tensor> two_views(const torch::Tensor& rows);

using MethodPtr = std::unique_ptr<Method>;
MethodPtr make_contrastive(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_weighted_repulsion(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_rank_contrast(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_byol(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_simsiam(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_barlow(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_supervised(const MethodOptions& options, std::shared_ptr<Encoder> encoder);
MethodPtr make_random(const MethodOptions& options, std::shared_ptr<Encoder> encoder);

}  // namespace wsp::train
