#include "train/run/on_its_way.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <thread>

namespace wsp::train {

OnItsWay::OnItsWay(const torch::Tensor& tensor)
    : host_(tensor.detach().to(torch::kCPU, /*non_blocking=*/true)) {  // into pinned memory
  if (tensor.is_cpu()) return;
  there_ = std::make_unique<c10::Event>(tensor.device().type());
  there_->record(c10::impl::VirtualGuardImpl(tensor.device().type()).getStream(tensor.device()));
}

OnItsWay::~OnItsWay() {
  try {
    if (there_) (void)there_->query();
  } catch (const std::exception&) {
    (void)host_.unsafeReleaseTensorImpl();
  }
}

const torch::Tensor& OnItsWay::get() {
  while (there_ && !there_->query()) std::this_thread::sleep_for(std::chrono::microseconds(20));
  there_.reset();
  return host_;
}

}  // namespace wsp::train
