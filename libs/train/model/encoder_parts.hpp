#pragma once
#include <memory>

#include "train/model/encoder.hpp"

/// What the sources of the encoders share; not for users of the library.
namespace wsp::train {

/// ResNet-18, -34 or -50 by options.name.
std::shared_ptr<Encoder> make_resnet(const EncoderOptions& options);

}  // namespace wsp::train
