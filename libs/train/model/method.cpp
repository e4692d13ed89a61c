#include "train/model/method.hpp"

#include <algorithm>

#include "io/core/error.hpp"
#include "train/model/method_parts.hpp"

namespace wsp::train {
namespace {

struct Factory {
  const char* name;
  std::unique_ptr<Method> (*make)(const MethodOptions&, std::shared_ptr<Encoder>);
};

constexpr Factory kFactories[] = {
    {"wsp", make_contrastive},
    {"simclr", make_contrastive},
    {"supcon", make_contrastive},
    {"depth-aware", make_contrastive},
    {"yaware", make_contrastive},
    {"lexp", make_weighted_repulsion},
    {"rnc", make_rank_contrast},
    {"byol", make_byol},
    {"simsiam", make_simsiam},
    {"barlow-twins", make_barlow},
    {"kernel-byol", make_byol},
    {"kernel-simsiam", make_simsiam},
    {"kernel-barlow-twins", make_barlow},
    {"supervised", make_supervised},
    {"random", make_random},
};

const Factory* factory_of(const std::string& name) {
  const auto* const found = std::find_if(std::begin(kFactories), std::end(kFactories),
                                         [&](const Factory& f) { return name == f.name; });
  return found == std::end(kFactories) ? nullptr : found;
}

void set_kernel(KernelOptions& kernel, const MethodFacts& facts) {
  kernel.use_label = facts.use_label;
  kernel.use_depth = facts.use_depth;
  kernel.own_view_only = facts.own_view_only;
}

}  // namespace

Method::Method(MethodOptions options, std::shared_ptr<Encoder> encoder)
    : options_(std::move(options)), encoder_(register_module("encoder", std::move(encoder))) {}

torch::nn::Sequential make_projector(const Encoder& encoder, bool batch_norm) {
  const std::int64_t in = encoder.representation();
  return make_mlp({in, in / 2, encoder.latent()},
                  batch_norm && encoder.options().norm == Norm::batch);
}

std::pair<torch::Tensor, torch::Tensor> two_views(const torch::Tensor& rows) {
  if (rows.dim() < 1 || rows.size(0) % 2 != 0)
    throw Error(ErrorCode::failure, "expected two views of every slice, an even number of rows");
  const std::int64_t n = rows.size(0) / 2;
  return {rows.slice(0, 0, n), rows.slice(0, n)};
}

std::optional<KernelOptions> contrastive_kernel(const std::string& method) {
  const auto facts = method_facts(method);
  const Factory* factory = factory_of(method);
  if (!facts || factory == nullptr || factory->make != make_contrastive) return std::nullopt;
  KernelOptions kernel;
  set_kernel(kernel, *facts);
  return kernel;
}

std::unique_ptr<Method> make_method(const MethodOptions& options,
                                    std::shared_ptr<Encoder> encoder) {
  if (encoder == nullptr) throw Error(ErrorCode::failure, "a method needs an encoder");
  const auto facts = method_facts(options.name);
  const Factory* factory = factory_of(options.name);
  if (!facts || factory == nullptr) {
    std::string known;
    for (const std::string& name : method_names()) known += (known.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::usage,
                "unknown method '" + options.name + "': expected one of " + known);
  }
  MethodOptions set = options;
  set_kernel(set.kernel, *facts);
  return factory->make(set, std::move(encoder));
}

}  // namespace wsp::train
