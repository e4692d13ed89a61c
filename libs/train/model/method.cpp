#include "train/model/method.hpp"

#include <algorithm>

#include "io/core/error.hpp"
#include "train/model/method_parts.hpp"

namespace wsp::train {
namespace {

/// What a name switches on.
struct Recipe {
  const char* name;
  std::unique_ptr<Method> (*make)(const MethodOptions&, std::shared_ptr<Encoder>);
  bool use_label, use_depth, own_view_only;
};

constexpr Recipe kRecipes[] = {
    {"wsp", make_contrastive, true, true, false},
    {"simclr", make_contrastive, false, false, true},
    {"supcon", make_contrastive, true, false, false},
    {"depth-aware", make_contrastive, false, true, false},
    {"yaware", make_contrastive, false, false, false},
    {"lexp", make_weighted_repulsion, false, false, false},
    {"rnc", make_rank_contrast, false, false, true},
    {"byol", make_byol, false, false, true},
    {"simsiam", make_simsiam, false, false, true},
    {"barlow-twins", make_barlow, false, false, true},
    {"kernel-byol", make_byol, true, true, false},
    {"kernel-simsiam", make_simsiam, true, true, false},
    {"kernel-barlow-twins", make_barlow, true, true, false},
    {"supervised", make_supervised, true, false, false},
    {"random", make_random, false, false, true},
};

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

const std::vector<std::string>& method_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Recipe& recipe : kRecipes) all.emplace_back(recipe.name);
    return all;
  }();
  return names;
}

std::optional<KernelOptions> contrastive_kernel(const std::string& method) {
  for (const Recipe& recipe : kRecipes) {
    if (method != recipe.name || recipe.make != make_contrastive) continue;
    KernelOptions kernel;
    kernel.use_label = recipe.use_label;
    kernel.use_depth = recipe.use_depth;
    kernel.own_view_only = recipe.own_view_only;
    return kernel;
  }
  return std::nullopt;
}

std::unique_ptr<Method> make_method(const MethodOptions& options,
                                    std::shared_ptr<Encoder> encoder) {
  if (encoder == nullptr) throw Error(ErrorCode::failure, "a method needs an encoder");
  std::string known;
  for (const Recipe& recipe : kRecipes) {
    if (options.name == recipe.name) {
      MethodOptions set = options;
      set.kernel.use_label = recipe.use_label;
      set.kernel.use_depth = recipe.use_depth;
      set.kernel.own_view_only = recipe.own_view_only;
      return recipe.make(set, std::move(encoder));
    }
    known += (known.empty() ? "" : ", ") + std::string(recipe.name);
  }
  throw Error(ErrorCode::usage, "unknown method '" + options.name + "': expected one of " + known);
}

}  // namespace wsp::train
