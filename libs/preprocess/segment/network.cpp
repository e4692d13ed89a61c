#include "preprocess/segment/network.hpp"

namespace wsp {

std::unique_ptr<NetworkSlot> Network::take_slot(const BatchShape& largest) {
  std::unique_ptr<NetworkSlot> slot;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      slot = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  const auto values = static_cast<std::size_t>(largest.samples * largest.voxels());
  const auto channels = static_cast<std::size_t>(largest.channels);
  if (slot && slot->input().size() >= values * channels &&
      slot->output().size() >= values * static_cast<std::size_t>(outputs()))
    return slot;
  slot.reset();  // its room goes before the larger one is made
  return make_slot(largest);
}

void Network::give_back(std::unique_ptr<NetworkSlot> slot) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(slot));
}

}  // namespace wsp
