// What of a model decides how many statistics there are.
#pragma once

#include <cstdint>
#include <vector>

namespace plumb {

class Engine;

/// K sublayers of width C; P trainable tensors.
struct StatisticsShape {
  std::int64_t sublayers = 0;
  std::int64_t width = 0;
  std::int64_t tensors = 0;
  std::vector<std::int64_t> tensor_entries{};  ///< (P); empty = not known
  std::vector<bool> is_attention{};            ///< (K); empty = none is
  std::int64_t heads = 0;                      ///< of an attention sublayer
  double mean_log_keys = 0;    ///< mean over queries of the log of the number of keys that they see
  bool has_alignment = false;  ///< branches are added to one stream
  std::int64_t norms = 0;
  std::vector<std::int64_t> norm_entries{};  ///< (N, 2) of gain and bias; 0 = it has none
  /// (N) per token: vectors that it divides by their size, entries that go through tanh or erf; 0 = none.
  std::vector<std::int64_t> norm_vectors{}, norm_bounded{};
  std::vector<std::int64_t> hidden_units{};  ///< (K) of an FFN; 0 of other sublayers

  /// Places where activations are probed: the stream 0..K, then the branches.
  std::int64_t probes() const { return 2 * sublayers + 1; }
  bool attends(std::int64_t k) const {
    return !is_attention.empty() && is_attention[static_cast<std::size_t>(k)];
  }
};

/// Of a list of counts, of which an empty one holds zeros.
inline std::int64_t count_at(const std::vector<std::int64_t>& counts, std::int64_t i) {
  return counts.empty() ? 0 : counts[static_cast<std::size_t>(i)];
}
std::int64_t sum_of_counts(const std::vector<std::int64_t>& counts);

StatisticsShape statistics_shape(const Engine& engine);

}  // namespace plumb
