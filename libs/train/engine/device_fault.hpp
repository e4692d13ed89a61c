#pragma once
#include <string_view>

#include "io/core/error.hpp"

namespace wsp::train {

/// What is wrong with a card, known by the words of CUDA's runtime, cuBLAS, cuDNN or LibTorch.
struct DeviceFault {
  std::string_view words;   ///< part of the message
  ErrorCode code;           ///< of the error that the user gets
  bool card_lost;           ///< this process can use the card no more, not even to free its memory
  std::string_view advice;  ///< what it means and what would work
};

/// The fault that a message tells of, or null where it tells of none. Out of memory is none: see is_out_of_memory().
const DeviceFault* find_device_fault(std::string_view message);

}  // namespace wsp::train
