// What of a model decides how many statistics there are.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace plumb {

/// K sublayers of width C; P trainable tensors.
struct StatisticsShape {
  std::int64_t sublayers = 0;
  std::int64_t width = 0;
  std::int64_t tensors = 0;
  std::vector<bool> is_attention{};  ///< (K); empty = none is
  std::int64_t heads = 0;            ///< of an attention sublayer
  double mean_log_keys = 0;          ///< mean over queries of the log of the number of keys that they see

  /// Places where activations are probed: the stream 0..K, then the branches.
  std::int64_t probes() const { return 2 * sublayers + 1; }
  bool attends(std::int64_t k) const {
    return !is_attention.empty() && is_attention[static_cast<std::size_t>(k)];
  }
};

/// For queries that see all T keys or, causal, those up to their own position.
inline double mean_log_keys(std::int64_t tokens, bool causal) {
  if (!causal) return std::log(static_cast<double>(tokens));
  double sum = 0;
  for (std::int64_t keys = 1; keys <= tokens; ++keys) sum += std::log(static_cast<double>(keys));
  return sum / static_cast<double>(tokens);
}

}  // namespace plumb
