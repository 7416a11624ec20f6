// What both directions of normalisation share: checked parameters, and the value before gain and bias.
#pragma once

#include <cstdint>

#include "backend/ops/norm.h"
#include "backends/cpu/arguments.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {

constexpr bool divides_by_deviation(NormKind kind) {
  return kind == NormKind::LayerNorm || kind == NormKind::RmsNorm || kind == NormKind::L2;
}
constexpr bool takes_alpha(NormKind kind) { return kind == NormKind::DyT || kind == NormKind::Derf; }

/// Calls body(constant) with the kind as a compile-time constant.
template <class Body>
void with_norm_kind(NormKind kind, Body&& body) {
  using enum NormKind;
  switch (kind) {
    case None:
      return body(std::integral_constant<NormKind, None>{});
    case LayerNorm:
      return body(std::integral_constant<NormKind, LayerNorm>{});
    case RmsNorm:
      return body(std::integral_constant<NormKind, RmsNorm>{});
    case DyT:
      return body(std::integral_constant<NormKind, DyT>{});
    case Derf:
      return body(std::integral_constant<NormKind, Derf>{});
    case L2:
      return body(std::integral_constant<NormKind, L2>{});
  }
  fail("unknown norm {}", static_cast<int>(kind));
}

struct NormParameters {
  std::int64_t width = 1;     ///< D, entries per group
  std::int64_t features = 1;  ///< entries of gain and bias: D (shared by the groups) or groups * D
  const float *gain = nullptr, *bias = nullptr;
  float alpha = 1, offset = 0;

  template <class Arguments>
  NormParameters(const char* op, const Arguments& arguments) {
    const std::int64_t cols = arguments.x.cols(), groups = arguments.groups;
    PLUMB_CHECK(groups >= 1 && cols % groups == 0, "{}: {} columns do not split into {} groups", op, cols,
                groups);
    PLUMB_CHECK(arguments.rows_per_sequence >= 1, "{}: rows_per_sequence is {}", op,
                arguments.rows_per_sequence);
    width = cols / groups;
    const Tensor& first = arguments.gain.defined() ? arguments.gain : arguments.bias;
    features = first.elements() == cols ? cols : width;
    gain = optional_vector<float>(op, "gain", arguments.gain, features);
    bias = optional_vector<float>(op, "bias", arguments.bias, features);
    const NormKind kind = arguments.kind;
    PLUMB_CHECK(kind != NormKind::None || !(gain || bias), "{}: the norm none takes no gain and no bias", op);
    PLUMB_CHECK(takes_alpha(kind) == arguments.alpha.defined(), "{}: alpha goes with dyt and derf", op);
    PLUMB_CHECK((kind == NormKind::Derf) == arguments.offset.defined(), "{}: offset goes with derf", op);
    if (takes_alpha(kind)) alpha = *vector_of<float>(op, "alpha", arguments.alpha, 1);
    if (kind == NormKind::Derf) offset = *vector_of<float>(op, "offset", arguments.offset, 1);
  }

  /// out[i] = parameter of column i times factor[i]; a null parameter is `missing`, a null factor 1.
  void expand(const float* parameter, float missing, const float* factor, std::int64_t cols,
              float* out) const {
    for (std::int64_t group = 0; group < cols; group += features) {
      for (std::int64_t i = 0; i < features; ++i) {
        const float value = parameter != nullptr ? parameter[i] : missing;
        out[group + i] = factor != nullptr ? value * factor[group + i] : value;
      }
    }
  }
};

/// One group of a row: what turns an entry into its normalised value.
struct NormTransform {
  float mean = 0, rstd = 1;     // (v - mean) * rstd
  float alpha = 1, offset = 0;  // function(alpha v + offset)

  template <NormKind kKind>
  PLUMB_VECTOR float normalised(float v) const {
    if constexpr (kKind == NormKind::None) return v;
    if constexpr (kKind == NormKind::LayerNorm) return (v - mean) * rstd;
    if constexpr (kKind == NormKind::RmsNorm || kKind == NormKind::L2) return v * rstd;
    if constexpr (kKind == NormKind::DyT) return vector_tanh(alpha * v);
    if constexpr (kKind == NormKind::Derf) return vector_erf(alpha * v + offset);
  }
  /// d normalised / d (alpha v + offset), of DyT and Derf.
  template <NormKind kKind>
  PLUMB_VECTOR float slope(float v, float normalised_v) const {
    if constexpr (kKind == NormKind::DyT) return 1.0F - normalised_v * normalised_v;
    const float u = alpha * v + offset;
    return 1.12837917F * vector_exp(-u * u);  // 2 / sqrt(pi)
  }
};

}  // namespace plumb::cpu
