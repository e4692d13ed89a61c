#include <unistd.h>

#include <cstdlib>

#include "io/core/error.hpp"
#include "io/core/worker_pool.hpp"
#include "preprocess/segment/builtin_model.hpp"
#include "preprocess/segment/model_runtime.hpp"

namespace wsp {
namespace {

std::filesystem::path build_with(Runtime runtime) {
  std::error_code ec;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ec);
  const std::string name =
      self.filename().string() + (runtime == Runtime::onnx ? "-onnx" : "-torch");
  for (const auto& path :
       {self.parent_path() / name, self.parent_path().parent_path() / "libexec" / "wsp" / name})
    if (!ec && ::access(path.c_str(), X_OK) == 0) return path;
  return {};
}

}  // namespace

bool has_build_with(Runtime runtime) { return !build_with(runtime).empty(); }

void switch_to_build_with(Runtime runtime, char** arguments) {
  const auto path = build_with(runtime);
  if (path.empty()) return;
  ::setenv(kGoesOn, "1", 1);
  if (WorkerPool* pool = worker_pool(); pool != nullptr) pool->kill();
  ::execv(path.c_str(), arguments);
}

std::unique_ptr<Segmenter> make_segmenter(const std::filesystem::path& descriptor,
                                          const std::string& /*device*/, SegmentationPlan /*plan*/,
                                          const std::string& /*precision*/) {
  throw Error(ErrorCode::usage,
              load_descriptor(descriptor).runtime() == Runtime::onnx
                  ? descriptor.string() +
                        " names an ONNX file, and this build has no ONNX Runtime: Debian 13 and "
                        "later have libonnxruntime-dev, elsewhere build with "
                        "-DWSP_ONNXRUNTIME=DIR; or give the network as TorchScript"
                  : "this program was built without LibTorch and cannot run " +
                        descriptor.string() +
                        ": build with -DWSP_WITH_SEGMENTER=ON, or give the liver masks with "
                        "--masks");
}

}  // namespace wsp
