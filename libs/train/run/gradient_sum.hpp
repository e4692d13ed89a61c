#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/run/distributed.hpp"
#include "train/run/optimizer.hpp"

namespace wsp::train {

/// The sum of the gradients over the ranks, piece by piece while the backward pass still runs: a
/// piece of the flat buffer goes as soon as the gradients of all its parameters are there. Pieces
/// go from the buffer's end to its beginning, which is about the order of a backward pass, and in
/// one order on every rank. Nothing with one rank.
class GradientSum {
 public:
  /// `piece`: gradients of a piece at least, but for the buffer's first. `parameters` and `ranks`
  /// must outlive this, and the parameters must be the module's.
  GradientSum(FlatParameters& parameters, torch::nn::Module& module, Ranks& ranks,
              std::int64_t piece = 1 << 20);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;
  /// The backward pass that comes is the last before finish().
  void arm();
  /// Begin the pieces that have not gone, and join all. Returns how many went during the pass.
  std::int64_t finish();
  [[nodiscard]] std::int64_t pieces() const { return std::ssize(pieces_); }

 private:
  struct Piece {
    std::int64_t offset = 0, count = 0;
    std::int64_t parameters = 0, missing = 0;  ///< in it; whose gradients are not there yet
  };
  struct Hook;
  void take(std::size_t piece);
  void begin_next();

  FlatParameters& parameters_;
  Ranks& ranks_;
  std::vector<Piece> pieces_;  ///< in the order in which they go
  std::vector<Hook> hooks_;
  std::size_t next_ = 0;  ///< piece to go
  bool armed_ = false;
};

}  // namespace wsp::train
