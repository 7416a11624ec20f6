// Dropout and stochastic depth. What is drawn depends on (seed, step, site, global index) only: never on the
// rank, the micro-batch or the backend.
#pragma once

#include "backend/stream.h"
#include "core/rng.h"
#include "core/tensor.h"

namespace plumb {

/// Names a stream of random words whose step and place are read from device memory when the op runs.
struct RandomSite {
  std::uint64_t seed = 0;
  std::uint32_t site = 0;
  Tensor counters;  ///< (2) int64: [0] optimiser step, [1] global index of the first sequence of this
                    ///< micro-batch
};

struct Dropout {
  double probability = 0;  ///< of dropping, in [0, 1)
  RandomSite site;
  std::int64_t rows_per_sequence = 1;
  Tensor x;  ///< (R, C) compute dtype
  Tensor y;  ///< (R, C); may be the same view as x
};

struct BernoulliPerSequence {
  double keep_probability = 1;  ///< in (0, 1]
  RandomSite site;
  Tensor factor;  ///< out (sequences) master dtype: 1/keep_probability or 0
};

class RandomOps {
 public:
  virtual ~RandomOps() = default;
  /// y = x / (1 - p) where the element is kept, else 0. The element (r, i) is dropped when
  /// RandomStream{seed, step, site}.uniform(first_sequence * rows_per_sequence * C + r * C + i) < probability
  /// (compared as float). The backward pass is the same call on the gradient.
  virtual void dropout(Stream& stream, const Dropout& arguments) const = 0;
  /// Sequence i is dropped when uniform(first_sequence + i) >= keep_probability.
  virtual void bernoulli_per_sequence(Stream& stream, const BernoulliPerSequence& arguments) const = 0;
};

}  // namespace plumb
