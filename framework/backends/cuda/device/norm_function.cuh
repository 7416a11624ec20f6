// Normalisation as kernels see it: what its arguments are, and the value before gain and bias.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "backend/ops/norm.h"
#include "backends/cuda/device/coefficient.cuh"
#include "backends/cuda/device/team.cuh"

namespace plumb::cuda {

/// One group of a row: what turns an entry into its normalised value.
struct NormFunction {
  NormKind kind;
  float mean, rstd;     // (v - mean) * rstd
  float alpha, offset;  // function(alpha v + offset)

  /// kDivides: the kind is one that divides by a deviation. One choice for the whole pack, which all threads
  /// of a launch make alike.
  template <bool kDivides, int kCount>
  __device__ __forceinline__ void normalise(const float (&v)[kCount], float (&out)[kCount]) const {
    if constexpr (kDivides) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) out[j] = (v[j] - mean) * rstd;
    } else if (kind == NormKind::DyT) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) out[j] = tanhf(alpha * v[j]);
    } else if (kind == NormKind::Derf) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) out[j] = erff(alpha * v[j] + offset);
    } else {
#pragma unroll
      for (int j = 0; j < kCount; ++j) out[j] = v[j];
    }
  }
  /// d normalised / d (alpha v + offset), of DyT and Derf; 1 for None.
  template <int kCount>
  __device__ __forceinline__ void slopes(const float (&v)[kCount], const float (&normalised)[kCount],
                                         float (&out)[kCount]) const {
    if (kind == NormKind::DyT) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) out[j] = 1.0f - normalised[j] * normalised[j];
    } else if (kind == NormKind::Derf) {
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        const float u = alpha * v[j] + offset;
        out[j] = 1.12837917f * expf(-u * u);  // 2 / sqrt(pi)
      }
    } else {
#pragma unroll
      for (int j = 0; j < kCount; ++j) out[j] = 1.0f;
    }
  }
};

/// What both directions are given.
template <class T>
struct NormInputs {
  NormKind kind;
  float epsilon;
  std::int64_t rows;
  int groups, width;  // width: D
  const T* x;
  std::int64_t x_stride;
  const float *gain, *bias, *alpha, *offset;  // null: not there
  bool own_parameters;                        // gain and bias of groups * D entries
  CoefficientView scale;

  template <class Arguments>
  explicit NormInputs(const Arguments& arguments)
      : kind(arguments.kind),
        epsilon(static_cast<float>(arguments.epsilon)),
        rows(arguments.x.rows()),
        groups(static_cast<int>(arguments.groups)),
        width(static_cast<int>(arguments.x.cols() / arguments.groups)),
        x(static_cast<const T*>(arguments.x.data)),
        x_stride(arguments.x.row_stride),
        gain(static_cast<const float*>(arguments.gain.data)),
        bias(static_cast<const float*>(arguments.bias.data)),
        alpha(static_cast<const float*>(arguments.alpha.data)),
        offset(static_cast<const float*>(arguments.offset.data)),
        own_parameters((arguments.gain.defined() ? arguments.gain : arguments.bias).elements() ==
                       arguments.x.cols()),
        scale(arguments.scale, arguments.rows_per_sequence) {}

  __device__ __forceinline__ bool centred() const { return kind == NormKind::LayerNorm; }
  __device__ __forceinline__ NormFunction function() const {
    return {kind, 0, 1, alpha != nullptr ? alpha[0] : 1.0f, offset != nullptr ? offset[0] : 0.0f};
  }
  /// A vector of parameters, and one of groups * D features, where the group's entries begin.
  __device__ __forceinline__ const float* parameters_of(const float* parameters, int group) const {
    return parameters != nullptr && own_parameters ? parameters + group * width : parameters;
  }
  __device__ __forceinline__ const float* features_of(const float* features, int group) const {
    return features != nullptr ? features + group * width : nullptr;
  }
};

/// How a launch goes about groups of `width` entries: the threads of a team and the form of access.
template <int kTeamIn, bool kVectorIn>
struct TeamForm {
  static constexpr int kTeam = kTeamIn, kTeams = kTeamBlock / kTeamIn;
  static constexpr bool kVector = kVectorIn;
  template <class T>
  using Layout = RowLayout<T, kTeam, kVector>;
};

/// Packs of a group that a thread is given before a wider team is taken.
inline constexpr int kTeamPacks = 4;

/// Calls body(form) with the narrowest team whose threads have at most kTeamPacks packs each, else the block.
template <class T, class Body>
void with_team(std::int64_t width, bool vector, Body&& body) {
  constexpr int kKept = kTeamPacks * kPackOf<T>;
  if (vector && width <= 8 * kKept) return body(TeamForm<8, true>{});
  if (vector && width <= kWarp * kKept) return body(TeamForm<kWarp, true>{});
  if (width <= kWarp * kKept) return body(TeamForm<kWarp, false>{});
  if (vector) return body(TeamForm<kTeamBlock, true>{});
  body(TeamForm<kTeamBlock, false>{});
}

constexpr bool divides_by_deviation(NormKind kind) {
  return kind == NormKind::LayerNorm || kind == NormKind::RmsNorm || kind == NormKind::L2;
}

/// Whether groups can be read in packs: x, y and the like, and the parameters beside them.
template <class Arguments>
bool norm_vector_access(const Arguments& arguments, std::initializer_list<Tensor> rows) {
  const std::int64_t width = arguments.x.cols() / arguments.groups;
  const Tensor& feature = arguments.scale.feature;
  return vector_access(width, rows) &&
         vector_access(width, {arguments.gain, arguments.bias, feature.elements() > 1 ? feature : Tensor()});
}

}  // namespace plumb::cuda
