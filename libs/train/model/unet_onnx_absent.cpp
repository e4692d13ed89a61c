#include "io/core/error.hpp"
#include "train/model/unet.hpp"

namespace wsp::train {

std::string unet_onnx(UNet& /*net*/, std::int64_t /*ratio*/, bool /*half*/) {
  throw Error(ErrorCode::usage,
              "this build writes no ONNX: install protobuf (Debian: libprotobuf-dev "
              "protobuf-compiler) and configure with -DWSP_WITH_PROTOBUF=ON");
}

}  // namespace wsp::train
