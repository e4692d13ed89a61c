#include "preprocess/segment/deferred_segmenter.hpp"

#include "preprocess/segment/model_runtime.hpp"

namespace wsp {

DeferredSegmenter::DeferredSegmenter(const std::filesystem::path& descriptor, std::string device,
                                     SegmentationPlan plan, char** arguments)
    : descriptor_(descriptor), device_(std::move(device)), plan_(plan), arguments_(arguments) {
  const ModelDescriptor model = load_descriptor(descriptor);
  identity_ = model_identity(model, plan, "fp32");
  refines_ = model.refine;
  runtime_ = model.runtime();
  name_ = model.name + " " + model.version;
}

void DeferredSegmenter::prepare() {
  if (model_) return;
  switch_to_build_with(runtime_, arguments_);
  model_ = make_segmenter(descriptor_, device_, plan_, "fp32");
}

}  // namespace wsp
