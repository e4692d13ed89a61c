#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"

namespace wsp {

/// What a segmenter made of one volume.
struct Segmentation {
  LiverMask mask;  ///< on the volume's own grid, before clean-up
  /// [z][y][x] like the mask: probability of liver in 1/255; empty where the segmenter gives none.
  std::vector<std::uint8_t> probability;
};

/// Makes a liver mask for a volume that came without one.
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  /// Hash of the model's bytes and descriptor: part of a case's key.
  [[nodiscard]] virtual std::string identity() const = 0;
  /// "name version", for the case's JSON.
  [[nodiscard]] virtual std::string name() const { return "segmenter"; }
  /// True of the network that comes with the tools, which no user chose.
  [[nodiscard]] virtual bool builtin() const { return false; }
  /// Whether its masks are to be refined by HU (refine_liver()).
  [[nodiscard]] virtual bool refines() const { return false; }
  /// Called once, by one thread, before the first segment(); not where no case needs it.
  virtual void prepare() {}
  /// True: segment() works on oneTBB's threads, for several volumes at once. False: it waits for a
  /// device, and gets threads of its own for two volumes at a time, while oneTBB's threads read and
  /// compress other cases.
  [[nodiscard]] virtual bool concurrent() const { return false; }
  /// The liver of a volume, or SEGMENTER_FAILED or SEGMENTER_BAD_OUTPUT; what it throws counts as
  /// the first, except an Error, which stops the job. Called by several threads at once.
  virtual Outcome<Segmentation> segment(const Volume& volume) = 0;
};

/// What became of a volume on which a model threw: SEGMENTER_FAILED with its own words, without
/// paths, or with the lack of memory named. Throws Error(failure) where the card itself failed,
/// since no later volume would fare better.
Rejection segmenter_failure(const std::exception& error);

}  // namespace wsp
