#pragma once
#include <c10/core/Event.h>
#include <torch/torch.h>

#include <memory>

namespace wsp::train {

/// A tensor on its way from a device to the host: the copy runs behind what the device has still to
/// do, and only get() waits, for that copy alone. On the CPU it is there at once.
class OnItsWay {
 public:
  /// Batches that a device may have before it while the host prepares the next.
  static constexpr std::size_t kAhead = 2;

  OnItsWay() = default;
  explicit OnItsWay(const torch::Tensor& tensor);
  /// Does not wait. Where the card was lost the tensor is leaked: LibTorch asks the card before it
  /// frees pinned memory.
  ~OnItsWay();
  OnItsWay(OnItsWay&&) = default;
  OnItsWay& operator=(OnItsWay&&) = default;
  /// The tensor on the host; waits until it is there.
  [[nodiscard]] const torch::Tensor& get();

 private:
  torch::Tensor host_;
  std::unique_ptr<c10::Event> there_;
};

}  // namespace wsp::train
