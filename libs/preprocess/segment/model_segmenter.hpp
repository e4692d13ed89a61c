#pragma once
#include <memory>

#include "preprocess/segment/descriptor.hpp"
#include "preprocess/segment/network.hpp"
#include "preprocess/segment/segmenter.hpp"

namespace wsp {

/// How a model is run; part of its identity.
struct SegmentationPlan {
  /// Look for liver first: in slices this far apart (2d, 2.5d), or in windows that do not overlap
  /// (3d); only what lies about a find is run in full. 0 runs everything.
  double coarse_mm = 10;
};

/// What stands for a model and the way of running it in a case's key: another hash, another mask.
std::string model_identity(const ModelDescriptor& model, SegmentationPlan plan,
                           const std::string& precision);

/// Segments with any network that a descriptor describes: volume -> its grid -> batches of slices
/// or sliding windows -> probabilities -> the volume's own grid -> threshold. Deterministic at any
/// number of threads as long as the network is. Thread-safe.
class ModelSegmenter : public Segmenter {
 public:
  ModelSegmenter(ModelDescriptor model, std::unique_ptr<Network> network, SegmentationPlan plan);
  [[nodiscard]] std::string identity() const override;
  [[nodiscard]] std::string name() const override { return model_.name + " " + model_.version; }
  [[nodiscard]] bool concurrent() const override { return network_->concurrent(); }
  [[nodiscard]] bool refines() const override { return model_.refine; }
  Outcome<Segmentation> segment(const Volume& volume) override;

 private:
  ModelDescriptor model_;
  std::unique_ptr<Network> network_;
  SegmentationPlan plan_;
};

}  // namespace wsp
