#pragma once
#include <cstddef>
#include <functional>
#include <memory>

#include "preprocess/pipeline/case_work.hpp"

namespace wsp {

/// One case on its way through the flow.
struct FlowItem {
  std::size_t number = 0;  ///< 0, 1, 2, ... in the order of next()
  CasePlan plan;
  std::shared_ptr<void> context;  ///< the caller's
  std::optional<CaseInHand> hand;
  std::optional<Outcome<CaseProduct>> result;  ///< set: later stages but the last pass it on
};

/// What happens to a case, stage by stage. What a stage throws stops the flow and is thrown on.
struct FlowStages {
  std::function<std::shared_ptr<FlowItem>()> next;  ///< one at a time; null: no more
  std::function<void(FlowItem&)> read;              ///< in parallel
  std::function<void(FlowItem&)> predict;           ///< only for items whose hand wants a model
  std::function<void(FlowItem&)> finish;            ///< in parallel
  std::function<void(FlowItem&)> collect;           ///< one at a time, in the order of next()
};

/// Cases that predict works on at once with threads of its own: one has its grid made, or its mask,
/// while the other keeps the device busy.
inline constexpr std::size_t kCasesOnDevice = 2;

/// Run cases through read -> predict -> finish -> collect on oneTBB's threads, at most `tokens` of
/// them at once. With `own_threads` predict has kCasesOnDevice threads of its own, so that a device
/// that is waited for costs no core and never waits for reading or compressing.
void run_flow(const FlowStages& stages, std::size_t tokens, bool own_threads);

}  // namespace wsp
