#include "io/core/error.hpp"
#include "preprocess/segment/torch_segmenter.hpp"

namespace wsp {

std::unique_ptr<Segmenter> make_torch_segmenter(const std::filesystem::path& descriptor,
                                                const std::string& /*device*/,
                                                SegmentationPlan /*plan*/) {
  throw Error(ErrorCode::usage,
              "this wsp-ingest was built without LibTorch and cannot run " + descriptor.string() +
                  ": build with -DWSP_WITH_SEGMENTER=ON, or give the liver masks with --masks");
}

}  // namespace wsp
