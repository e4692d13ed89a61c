#include "preprocess/pipeline/case_flow.hpp"

#include <tbb/concurrent_queue.h>
#include <tbb/flow_graph.h>

#include <array>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

namespace wsp {
namespace {

using ItemPtr = std::shared_ptr<FlowItem>;
using Device = tbb::flow::async_node<ItemPtr, ItemPtr>;

// The threads that wait for the device. What predict throws first is kept for the flow to throw.
class DeviceThreads {
 public:
  explicit DeviceThreads(std::function<void(FlowItem&)> predict) : predict_(std::move(predict)) {
    for (std::thread& thread : threads_) thread = std::thread([this] { work(); });
  }
  ~DeviceThreads() {
    for (std::size_t i = 0; i < threads_.size(); ++i) orders_.push({});
    for (std::thread& thread : threads_) thread.join();
  }
  DeviceThreads(const DeviceThreads&) = delete;
  DeviceThreads& operator=(const DeviceThreads&) = delete;

  void order(ItemPtr item, Device::gateway_type& gateway) {
    gateway.reserve_wait();
    orders_.push({std::move(item), &gateway});
  }
  /// Orders that are not begun are passed on untouched.
  void give_up() { given_up_ = true; }
  void rethrow() {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  struct Order {
    ItemPtr item;
    Device::gateway_type* gateway = nullptr;
  };
  void work() {
    for (;;) {
      Order order;
      orders_.pop(order);
      if (order.gateway == nullptr) return;
      if (!given_up_) {
        try {
          predict_(*order.item);
        } catch (...) {
          const std::lock_guard lock(mutex_);
          if (!failure_) failure_ = std::current_exception();
          given_up_ = true;
        }
      }
      order.gateway->try_put(std::move(order.item));
      order.gateway->release_wait();
    }
  }

  std::function<void(FlowItem&)> predict_;
  tbb::concurrent_bounded_queue<Order> orders_;
  std::atomic<bool> given_up_{false};
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::array<std::thread, kCasesOnDevice> threads_;  // last: they use all of the above
};

bool wants_model(const FlowItem& item) {
  return !item.result && item.hand && item.hand->wants_model;
}

}  // namespace

void run_flow(const FlowStages& stages, std::size_t tokens, bool own_threads) {
  namespace flow = tbb::flow;
  flow::graph graph;
  std::optional<DeviceThreads> device;
  if (own_threads) device.emplace(stages.predict);
  const auto check_device = [&] {
    if (device) device->rethrow();
  };
  // The graph ends only when all that the device was ordered is back: what a stage throws stops
  // that too.
  const auto stage = [&](const auto& work) {
    try {
      return work();
    } catch (...) {
      if (device) device->give_up();
      throw;
    }
  };

  flow::input_node<ItemPtr> source(graph, [&](tbb::flow_control& control) {
    ItemPtr item = stage(stages.next);
    if (!item) control.stop();
    return item;
  });
  flow::limiter_node<ItemPtr> limiter(graph, tokens);
  // An item that needs no model goes past the device: port 0 is the device, port 1 the way past it.
  using Reader = flow::multifunction_node<ItemPtr, std::tuple<ItemPtr, ItemPtr>>;
  Reader reader(graph, flow::unlimited, [&](ItemPtr item, Reader::output_ports_type& ports) {
    check_device();
    stage([&] { stages.read(*item); });
    if (!wants_model(*item)) {
      std::get<1>(ports).try_put(std::move(item));
    } else if (device) {
      std::get<0>(ports).try_put(std::move(item));
    } else {
      stages.predict(*item);
      std::get<1>(ports).try_put(std::move(item));
    }
  });
  Device waiter(graph, flow::unlimited, [&](ItemPtr item, Device::gateway_type& gateway) {
    device->order(std::move(item), gateway);
  });
  flow::function_node<ItemPtr, ItemPtr> finisher(graph, flow::unlimited, [&](ItemPtr item) {
    check_device();
    stage([&] { stages.finish(*item); });
    item->hand.reset();  // the volume goes before its turn comes
    return item;
  });
  flow::sequencer_node<ItemPtr> sequencer(graph, [](const ItemPtr& item) { return item->number; });
  flow::function_node<ItemPtr, flow::continue_msg> collector(
      graph, flow::serial, [&](ItemPtr item) {
        stage([&] { stages.collect(*item); });
        return flow::continue_msg();
      });
  flow::make_edge(source, limiter);
  flow::make_edge(limiter, reader);
  flow::make_edge(flow::output_port<0>(reader), waiter);
  flow::make_edge(flow::output_port<1>(reader), finisher);
  flow::make_edge(waiter, finisher);
  flow::make_edge(finisher, sequencer);
  flow::make_edge(sequencer, collector);
  flow::make_edge(collector, limiter.decrementer());
  source.activate();
  graph.wait_for_all();
  check_device();
}

}  // namespace wsp
