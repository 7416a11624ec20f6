// A softmax whose row arrives in pieces: the largest value and the sum so far (arXiv 1805.02867), and its
// entropy.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cpu/tile_product.h"
#include "backends/cpu/vector_math.h"

namespace plumb::cpu {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Combines the lanes by halves: log2(kLanes) dependent steps instead of kLanes.
template <class Combine>
inline float across_lanes(const Lanes& lanes, Combine combine) {
  alignas(Lanes) float values[kLanes];
  lanes_at(values) = lanes;
#pragma GCC unroll 8
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane)
      values[lane] = combine(values[lane], values[lane + half]);
  }
  return values[0];
}

/// The rows below are whole vectors: width is a multiple of kLanes.
inline float largest_of(const float* values, std::int64_t width) {
  Lanes largest = lanes_at(values);
  for (std::int64_t j = kLanes; j < width; j += kLanes) {
    const Lanes& next = lanes_at(values + j);
    largest = next > largest ? next : largest;
  }
  return across_lanes(largest, [](float a, float b) { return a > b ? a : b; });
}

inline float sum_of(const float* values, std::int64_t width) {
  Lanes sums = lanes_at(values);
  for (std::int64_t j = kLanes; j < width; j += kLanes) sums += lanes_at(values + j);
  return across_lanes(sums, [](float a, float b) { return a + b; });
}

/// logits = cap * tanh(logits / cap).
inline void apply_soft_cap(float* logits, std::int64_t width, double soft_cap) {
  const auto cap = static_cast<float>(soft_cap), inverse = static_cast<float>(1 / soft_cap);
  for (std::int64_t j = 0; j < width; ++j) logits[j] = cap * vector_tanh(logits[j] * inverse);
}

/// The most logits of one piece.
inline constexpr std::int64_t kLongestPiece = 128;

struct RunningSoftmax {
  float largest = kMinusInfinity;
  float sum = 0;
  float weighted = 0;  ///< sum of exp(logit - largest) (logit - largest)

  /// For maxima over rows: `largest` passes over NaN, the sum does not.
  float largest_or_nan() const { return sum != sum ? sum : largest; }

  /// In nats; needs kWithEntropy. Both terms are positive, where log_sum_exp - sum p s would cancel.
  float entropy() const { return std::log(sum) - weighted / sum; }

  /// Turns a piece of `width` logits, of which the first `visible` count, into exp(logit - largest), with 0
  /// for the others; returns the factor by which everything summed before has to be multiplied.
  template <bool kWithEntropy>
  float absorb(float* logits, std::int64_t visible, std::int64_t width) {
    std::fill(logits + visible, logits + width, kMinusInfinity);
    const float new_largest = std::max(largest, largest_of(logits, width));
    const float correction = sum == 0 ? 0.0F : std::exp(largest - new_largest);
    if constexpr (kWithEntropy) {
      alignas(Lanes) std::array<float, kLongestPiece> products;
      for (std::int64_t j = 0; j < width; ++j) {
        const float distance = logits[j] - new_largest;
        logits[j] = vector_exp(distance);
        products[static_cast<std::size_t>(j)] = logits[j] * distance;
      }
      std::fill(products.begin() + visible, products.begin() + width, 0.0F);
      const float before = sum == 0 ? 0.0F : correction * (weighted + sum * (largest - new_largest));
      weighted = before + sum_of(products.data(), width);
    } else {
      for (std::int64_t j = 0; j < width; ++j) logits[j] = vector_exp(logits[j] - new_largest);
    }
    std::fill(logits + visible, logits + width, 0.0F);
    sum = sum * correction + sum_of(logits, width);
    largest = new_largest;
    return correction;
  }
};

}  // namespace plumb::cpu
