#pragma once
#include <string>

#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"

namespace wsp {

/// Makes a liver mask for a volume that came without one. segment() is called from one thread at a
/// time unless concurrent() says otherwise.
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  /// Hash of the model's bytes and descriptor: part of a case's key.
  [[nodiscard]] virtual std::string identity() const = 0;
  [[nodiscard]] virtual bool concurrent() const { return false; }
  /// A mask on the volume's own grid (before clean-up), or SEGMENTER_FAILED; what it throws counts
  /// as that too, except an Error, which stops the job.
  virtual Outcome<LiverMask> segment(const Volume& volume) = 0;
};

}  // namespace wsp
