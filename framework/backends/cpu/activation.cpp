#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/thread_columns.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

template <ActivationKind kKind>
inline constexpr bool kGated = kKind == ActivationKind::SwiGlu || kKind == ActivationKind::GeGlu;

struct ValueAndSlope {
  float value, slope;
};

/// The plain function, or the one that acts on the gate. What a caller does not use costs nothing.
template <ActivationKind kKind>
PLUMB_VECTOR ValueAndSlope evaluate(float t) {
  using enum ActivationKind;
  if constexpr (kKind == Gelu || kKind == GeGlu) {
    const NormalDistribution normal = vector_normal(t);
    return {t * normal.cumulative, normal.cumulative + t * normal.density};
  }
  if constexpr (kKind == GeluTanh) {
    constexpr float kFactor = 0.797884561F;  // sqrt(2 / pi)
    const float square = t * t;
    const float tanh = vector_tanh(kFactor * t * (1.0F + 0.044715F * square));
    const float inner_slope = kFactor * (1.0F + 3 * 0.044715F * square);
    return {0.5F * t * (1.0F + tanh), 0.5F * (1.0F + tanh) + 0.5F * t * (1.0F - tanh * tanh) * inner_slope};
  }
  if constexpr (kKind == Relu) return {t > 0.0F ? t : 0.0F, t > 0.0F ? 1.0F : 0.0F};
  if constexpr (kKind == ReluSquared) return {t > 0.0F ? t * t : 0.0F, t > 0.0F ? 2.0F * t : 0.0F};
  if constexpr (kKind == Silu || kKind == SwiGlu) {
    const float sigmoid = vector_sigmoid(t);
    return {t * sigmoid, sigmoid * (1.0F + t * (1.0F - sigmoid))};
  }
}

/// Calls body(constant) with the kind as a compile-time constant.
template <class Body>
void with_activation_kind(ActivationKind kind, Body&& body) {
  using enum ActivationKind;
  switch (kind) {
    case Gelu:
      return body(std::integral_constant<ActivationKind, Gelu>{});
    case GeluTanh:
      return body(std::integral_constant<ActivationKind, GeluTanh>{});
    case Relu:
      return body(std::integral_constant<ActivationKind, Relu>{});
    case ReluSquared:
      return body(std::integral_constant<ActivationKind, ReluSquared>{});
    case Silu:
      return body(std::integral_constant<ActivationKind, Silu>{});
    case SwiGlu:
      return body(std::integral_constant<ActivationKind, SwiGlu>{});
    case GeGlu:
      return body(std::integral_constant<ActivationKind, GeGlu>{});
  }
  fail("unknown activation {}", static_cast<int>(kind));
}

template <bool kBias, class T>
PLUMB_VECTOR float biased(const T* pre, const float* bias, std::int64_t i) {
  const auto value = static_cast<float>(pre[i]);
  if constexpr (kBias) return value + bias[i];
  return value;
}

template <ActivationKind kKind, class T, bool kBias>
void forward_row(const T* pre, const float* bias, std::int64_t width, T* h) {
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    float value = evaluate<kKind>(biased<kBias>(pre, bias, i)).value;
    if constexpr (kGated<kKind>) value *= biased<kBias>(pre, bias, width + i);
    store(value, &h[i]);
  }
}

/// Everything at i is read before it is written: dpre may be the same view as pre, and h as dh. What is null
/// is not wanted.
template <ActivationKind kKind, class T, bool kBias, bool kBiasGradient, bool kMakesH>
void backward_row(const T* pre, const float* bias, const T* dh, std::int64_t width, T* dpre, T* h,
                  float* dbias) {
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    const auto [value, slope] = evaluate<kKind>(biased<kBias>(pre, bias, i));
    const auto upstream = static_cast<float>(dh[i]);
    float gradient = upstream * slope, made_again = value;
    if constexpr (kGated<kKind>) {
      const float up_gradient = upstream * value, up = biased<kBias>(pre, bias, width + i);
      gradient *= up;
      made_again *= up;
      store(up_gradient, &dpre[width + i]);
      if constexpr (kBiasGradient) dbias[width + i] += up_gradient;
    }
    store(gradient, &dpre[i]);
    if constexpr (kMakesH) store(made_again, &h[i]);
    if constexpr (kBiasGradient) dbias[i] += gradient;
  }
}

template <ActivationKind kKind, class T>
void forward(const ActivationForward& arguments) {
  const char* op = "activation_forward";
  const std::int64_t rows = arguments.h.rows(), width = arguments.h.cols();
  const std::int64_t inputs = kGated<kKind> ? 2 * width : width;
  const Rows<T> pre(op, "pre", arguments.pre, rows, inputs), h(op, "h", arguments.h, rows, width);
  const float* bias = optional_vector<float>(op, "bias", arguments.bias, inputs);
  parallel_for(rows, row_grain(width, kExpensiveElements), [&](std::int64_t r) {
    if (bias != nullptr) {
      forward_row<kKind, T, true>(pre[r], bias, width, h[r]);
    } else {
      forward_row<kKind, T, false>(pre[r], bias, width, h[r]);
    }
  });
}

ThreadColumns bias_sums(const ActivationBackward& arguments, WorkspaceCarver& carver) {
  return ThreadColumns(carver, arguments.dbias.defined() ? 1 : 0, arguments.pre.cols());
}

template <ActivationKind kKind, class T, bool kBias, bool kBiasGradient>
void backward(const ActivationBackward& arguments) {
  const char* op = "activation_backward";
  const std::int64_t rows = arguments.dh.rows(), width = arguments.dh.cols();
  const std::int64_t inputs = kGated<kKind> ? 2 * width : width;
  const Rows<T> pre(op, "pre", arguments.pre, rows, inputs), dh(op, "dh", arguments.dh, rows, width);
  const Rows<T> dpre(op, "dpre", arguments.dpre, rows, inputs);
  const auto h = Rows<T>::optional(op, "h", arguments.h, rows, width);
  const float* bias = optional_vector<float>(op, "bias", arguments.bias, inputs);
  float* dbias = optional_vector<float>(op, "dbias", arguments.dbias, inputs);
  WorkspaceCarver carver(arguments.workspace);
  const ThreadColumns sums = bias_sums(arguments, carver);
  parallel_chunks(rows, row_grain(width, kExpensiveElements),
                  [&](int thread, std::int64_t begin, std::int64_t end) {
                    ThreadColumns::Partial partial = sums.begin(thread);
                    for (std::int64_t r = begin; r < end; ++r) {
                      if (h) {
                        backward_row<kKind, T, kBias, kBiasGradient, true>(pre[r], bias, dh[r], width,
                                                                           dpre[r], h[r], partial.array(0));
                      } else {
                        backward_row<kKind, T, kBias, kBiasGradient, false>(
                            pre[r], bias, dh[r], width, dpre[r], nullptr, partial.array(0));
                      }
                      partial.end_rows(1);
                    }
                    partial.flush();
                  });
  sums.combine();
  if (dbias != nullptr) sums.add_to(dbias, inputs, 0, nullptr);
}

}  // namespace

void CpuActivation::activation_forward(Stream&, const ActivationForward& arguments) const {
  with_compute("activation_forward", arguments.pre.dtype, [&](auto element) {
    with_activation_kind(arguments.kind, [&](auto kind) { forward<kind(), decltype(element)>(arguments); });
  });
}

void CpuActivation::activation_backward(Stream&, const ActivationBackward& arguments) const {
  with_compute("activation_backward", arguments.dh.dtype, [&](auto element) {
    using T = decltype(element);
    with_activation_kind(arguments.kind, [&](auto kind) {
      const bool bias = arguments.bias.defined(), gradient = arguments.dbias.defined();
      if (bias && gradient) return backward<kind(), T, true, true>(arguments);
      if (bias) return backward<kind(), T, true, false>(arguments);
      if (gradient) return backward<kind(), T, false, true>(arguments);
      backward<kind(), T, false, false>(arguments);
    });
  });
}

std::size_t CpuActivation::activation_backward_workspace(const ActivationBackward& arguments) const {
  WorkspaceCarver carver;
  bias_sums(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
