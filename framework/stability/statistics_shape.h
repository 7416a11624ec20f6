// What of a model decides how many statistics there are.
#pragma once

#include <cstdint>

namespace plumb {

/// K sublayers of width C; P trainable tensors.
struct StatisticsShape {
  std::int64_t sublayers = 0;
  std::int64_t width = 0;
  std::int64_t tensors = 0;

  /// Places where activations are probed: the stream 0..K, then the branches.
  std::int64_t probes() const { return 2 * sublayers + 1; }
};

}  // namespace plumb
