#pragma once
#include <exception>
#include <string>
#include <string_view>

#include "io/core/error.hpp"

namespace wsp {

/// What is wrong with a card, known by the words of CUDA's runtime, cuBLAS, cuDNN or LibTorch.
struct DeviceFault {
  std::string_view words;   ///< part of the message
  ErrorCode code;           ///< of the error that the user gets
  bool card_lost;           ///< this process can use the card no more, not even to free its memory
  std::string_view advice;  ///< what it means and what would work
};

/// The fault that a message tells of, or null where it tells of none. Out of memory is none: see
/// is_out_of_memory().
const DeviceFault* find_device_fault(std::string_view message);

/// True for what says that a card or the machine has no memory left, be it std::bad_alloc or in
/// LibTorch's, cuBLAS's or cuDNN's words (TorchScript wraps what it catches, and only they remain).
bool is_out_of_memory(const std::exception& error);

/// First line of an exception's words: LibTorch's go on with a trace of C++.
std::string first_line(const std::exception& error);

}  // namespace wsp
