// The activation functions (backend/ops/activation.h) of a pack of values.
#pragma once

#include <cmath>

#include "backend/ops/activation.h"
#include "portability.cuh"

namespace plumb::cuda {

/// Of the plain function, or of the one that acts on the gate.
struct ValueAndSlope {
  float value, slope;
};

__device__ __forceinline__ ValueAndSlope gelu(float t) {
  const float distribution = 0.5f * (1.0f + erff(t * 0.707106781f));
  const float density = 0.398942280f * expf(-0.5f * t * t);  // 1 / sqrt(2 pi)
  return {t * distribution, distribution + t * density};
}

__device__ __forceinline__ ValueAndSlope gelu_tanh(float t) {
  constexpr float kFactor = 0.797884561f;  // sqrt(2 / pi)
  const float square = t * t;
  const float tanh = tanhf(kFactor * t * (1.0f + 0.044715f * square));
  const float inner_slope = kFactor * (1.0f + 3 * 0.044715f * square);
  return {0.5f * t * (1.0f + tanh), 0.5f * (1.0f + tanh) + 0.5f * t * (1.0f - tanh * tanh) * inner_slope};
}

__device__ __forceinline__ ValueAndSlope silu(float t) {
  const float sigmoid = 1.0f / (1.0f + expf(-t));
  return {t * sigmoid, sigmoid * (1.0f + t * (1.0f - sigmoid))};
}

/// One choice of the function for the whole pack: all threads of a launch choose alike. What a caller does
/// not use costs nothing.
template <int kCount>
__device__ __forceinline__ void activate(ActivationKind kind, const float (&t)[kCount],
                                         ValueAndSlope (&out)[kCount]) {
  using enum ActivationKind;
  if (kind == Gelu || kind == GeGlu) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) out[j] = gelu(t[j]);
  } else if (kind == GeluTanh) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) out[j] = gelu_tanh(t[j]);
  } else if (kind == Relu) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) out[j] = {t[j] > 0.0f ? t[j] : 0.0f, t[j] > 0.0f ? 1.0f : 0.0f};
  } else if (kind == ReluSquared) {
#pragma unroll
    for (int j = 0; j < kCount; ++j)
      out[j] = {t[j] > 0.0f ? t[j] * t[j] : 0.0f, t[j] > 0.0f ? 2.0f * t[j] : 0.0f};
  } else {
#pragma unroll
    for (int j = 0; j < kCount; ++j) out[j] = silu(t[j]);
  }
}

}  // namespace plumb::cuda
