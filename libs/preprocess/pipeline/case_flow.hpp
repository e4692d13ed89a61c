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

/// Run cases through read -> predict -> finish -> collect on oneTBB's threads, at most `tokens` of
/// them at once. With `own_thread` predict has a thread of its own and takes one case at a time, so
/// that a device that is waited for costs no core and never waits for reading or compressing.
void run_flow(const FlowStages& stages, std::size_t tokens, bool own_thread);

}  // namespace wsp
