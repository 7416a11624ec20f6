// A softmax whose row arrives in pieces: the largest value and the sum so far (arXiv 1805.02867), and its
// entropy.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cpu/row_sums.h"
#include "backends/cpu/vector_math.h"

namespace plumb::cpu {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The rows below are whole vectors: width is a multiple of kLanes.
inline float largest_of(const float* values, std::int64_t width) {
  LanesValue largest = lanes_at(values);
  for (std::int64_t j = kLanes; j < width; j += kLanes) {
    const LanesValue next = lanes_at(values + j);
    largest = next > largest ? next : largest;
  }
  return largest_of_lanes(largest);
}

/// Compares true in the lanes below `count`.
inline auto lanes_below(std::int64_t count) {
  using Words __attribute__((vector_size(kLanes * sizeof(std::int32_t)))) = std::int32_t;
  Words lane;
  for (std::int32_t i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < static_cast<std::int32_t>(count);
}

/// values[visible .. width) = value, by whole vectors.
inline void fill_after(float* values, std::int64_t visible, std::int64_t width, float value) {
  const LanesValue filled = LanesValue{} + value;
  for (std::int64_t j = visible / kLanes * kLanes; j < width; j += kLanes) {
    const LanesValue old = lanes_at(values + j);
    lanes_at(values + j) = lanes_below(visible - j) ? old : filled;
  }
}

/// logits = cap * tanh(logits / cap).
inline void apply_soft_cap(float* logits, std::int64_t width, double soft_cap) {
  const auto cap = static_cast<float>(soft_cap), inverse = static_cast<float>(1 / soft_cap);
  for (std::int64_t j = 0; j < width; ++j) logits[j] = cap * vector_tanh(logits[j] * inverse);
}

struct RunningSoftmax {
  float largest = kMinusInfinity;
  float sum = 0;
  float weighted = 0;  ///< sum of exp(logit - largest) (logit - largest)

  /// For maxima over rows: `largest` passes over NaN, the sum does not.
  float largest_or_nan() const { return sum != sum ? sum : largest; }

  /// In nats, from log(sum); needs kWithEntropy. Both terms are positive, where log_sum_exp - sum p s would
  /// cancel.
  float entropy(float log_sum) const { return log_sum - weighted / sum; }

  /// Turns a piece of `width` logits, of which the first `visible` count, into exp(logit - largest), with 0
  /// for the others; returns the factor by which everything summed before has to be multiplied.
  template <bool kWithEntropy>
  float absorb(float* logits, std::int64_t visible, std::int64_t width) {
    fill_after(logits, visible, width, kMinusInfinity);
    const float new_largest = std::max(largest, largest_of(logits, width));
    const float correction = sum == 0 ? 0.0F : std::exp(largest - new_largest);
    LanesValue sums{}, products{};
    for (std::int64_t j = 0; j < width; j += kLanes) {
      const LanesValue distance = lanes_at(logits + j) - new_largest;
      const LanesValue exponential = vector_exp_or_zero(distance);
      lanes_at(logits + j) = exponential;
      sums += exponential;
      // 0 * infinity would be NaN.
      if constexpr (kWithEntropy) products += exponential * (distance < kVanishes ? LanesValue{} : distance);
    }
    if constexpr (kWithEntropy) {
      const float before = sum == 0 ? 0.0F : correction * (weighted + sum * (largest - new_largest));
      weighted = before + sum_of_lanes(products);
    }
    sum = sum * correction + sum_of_lanes(sums);
    largest = new_largest;
    return correction;
  }

 private:
  static constexpr float kVanishes = -90;  // its exponential is 0
};

}  // namespace plumb::cpu
