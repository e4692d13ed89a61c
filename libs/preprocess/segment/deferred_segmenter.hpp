#pragma once
#include <memory>
#include <string>

#include "preprocess/segment/model_segmenter.hpp"

namespace wsp {

/// A model that is loaded when it is known that some case needs it, by prepare(). It runs in fp32,
/// so that its identity does not hang on the device.
class DeferredSegmenter : public Segmenter {
 public:
  /// `arguments` are the program's own: prepare() starts it again with what runs the model where it
  /// has none. Throws Error(usage) for a descriptor that is wrong.
  DeferredSegmenter(const std::filesystem::path& descriptor, std::string device,
                    SegmentationPlan plan, char** arguments);
  [[nodiscard]] std::string identity() const override { return identity_; }
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] bool builtin() const override { return true; }
  [[nodiscard]] bool refines() const override { return refines_; }
  [[nodiscard]] bool concurrent() const override { return !model_ || model_->concurrent(); }
  /// Throws what make_segmenter() throws.
  void prepare() override;
  Outcome<Segmentation> segment(const Volume& volume) override { return model_->segment(volume); }

 private:
  std::filesystem::path descriptor_;
  std::string device_, identity_, name_;
  SegmentationPlan plan_;
  bool refines_ = false;
  Runtime runtime_ = Runtime::torch;
  char** arguments_;
  std::unique_ptr<Segmenter> model_;
};

}  // namespace wsp
