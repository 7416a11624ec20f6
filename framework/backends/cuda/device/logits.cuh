// A row of logits in device code: its softmax, taken up piece by piece, and the gradient of its loss.
#pragma once

#include <cmath>
#include <limits>

#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/head_loss.h"

namespace plumb::cuda {

inline constexpr int kQuad = 4;
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// From a product of h and the weight to a logit. `bias` begins at the chunk's first entry; null = none.
struct LogitOf {
  const float* bias;
  float soft_cap;

  template <class Arguments>
  LogitOf(const Arguments& arguments, std::int64_t first)
      : bias(arguments.bias.defined() ? static_cast<const float*>(arguments.bias.data) + first : nullptr),
        soft_cap(static_cast<float>(arguments.soft_cap)) {}

  __device__ __forceinline__ float bias_of(std::int64_t entry) const {
    return bias != nullptr ? bias[entry] : 0.0f;
  }
  __device__ __forceinline__ float operator()(float product, float entry_bias) const {
    const float biased = product + entry_bias;
    return soft_cap > 0 ? soft_cap * tanhf(biased / soft_cap) : biased;
  }
};

/// exp(from - to) for maxima from <= to of which both may be -inf, when nothing has been seen yet.
__device__ __forceinline__ float rescale(float from, float to) { return from == to ? 1.0f : expf(from - to); }

/// exp(logit - largest), 0 for -inf whatever the maximum; NaN for NaN and for +inf.
__device__ __forceinline__ float exponential(float logit, float largest) {
  return logit == -kInfinity ? 0.0f : expf(logit - largest);
}

/// A thread's part of a row.
struct Softmax {
  float largest = -kInfinity, sum = 0;

  __device__ __forceinline__ void absorb(const float (&logits)[kQuad]) {
    float highest = largest;  // fmaxf passes over NaN, the sum below does not
#pragma unroll
    for (int i = 0; i < kQuad; ++i) highest = fmaxf(highest, logits[i]);
    sum *= rescale(largest, highest);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) sum += exponential(logits[i], highest);
    largest = highest;
  }
  __device__ __forceinline__ void absorb(const Softmax& other) {
    const float highest = fmaxf(largest, other.largest);
    sum = sum * rescale(largest, highest) + other.sum * rescale(other.largest, highest);
    largest = highest;
  }
};

/// log Z of a row, whose softmax has this maximum and this sum.
__device__ __forceinline__ double log_z_of(float largest, float sum) {
  return sum > 0 ? static_cast<double>(largest) + log(static_cast<double>(sum)) : static_cast<double>(kNaN);
}

/// The factors of the gradient that a row has; all 0 without a target, NaN when the target does not exist.
struct RowGradient {
  const std::int32_t* targets;
  const float* log_z;
  std::int64_t vocabulary;
  double gradient_scale;
  const double* loss_scale;
  float z_loss;

  RowGradient(const HeadLossBackward& arguments, std::int64_t first_row)
      : targets(static_cast<const std::int32_t*>(arguments.targets.data) + first_row),
        log_z(static_cast<const float*>(arguments.log_z.data) + first_row),
        vocabulary(arguments.weight.rows()),
        gradient_scale(arguments.gradient_scale),
        loss_scale(static_cast<const double*>(arguments.loss_scale.data)),
        z_loss(static_cast<float>(arguments.z_loss)) {}

  __device__ __forceinline__ float scale() const {
    return static_cast<float>(loss_scale != nullptr ? gradient_scale * loss_scale[0] : gradient_scale);
  }
};

/// d loss_r / d logit (before the soft cap, if any) of one entry: with l the logit,
///   scale * (exp(l - log Z) * (1 + 2 z_loss log Z) - [v = target]) * (1 - (l / cap)^2).
struct EntryGradient {
  float scale, soft_cap;

  __device__ __forceinline__ float operator()(float logit, float log_z, float row_factor,
                                              bool is_target) const {
    float gradient = row_factor * expf(logit - log_z);
    if (is_target) gradient -= scale;
    if (soft_cap > 0) {
      const float ratio = logit / soft_cap;
      gradient *= 1.0f - ratio * ratio;
    }
    return gradient;
  }
};

}  // namespace plumb::cuda
