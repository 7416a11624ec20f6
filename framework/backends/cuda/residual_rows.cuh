// The residual combine as kernels see it: its knobs, its rows and the sum itself. Two kernels make the same
// bits of it: one that goes down the columns, and one that has whole rows and emits moments.
#pragma once

#include <cmath>
#include <cstdint>

#include "backend/ops/residual.h"
#include "backends/cuda/device/coefficient.cuh"
#include "backends/cuda/device/row_layout.cuh"

namespace plumb::cuda {

/// The knobs of s = a x + b z + e x_block, out = p s. A tied skip is s = x + b (z - x).
struct Knobs {
  CoefficientView a, b, e, p;
  bool tied;

  template <class Arguments>
  explicit Knobs(const Arguments& arguments)
      : a(arguments.a, arguments.rows_per_sequence),
        b(arguments.b, arguments.rows_per_sequence),
        e(arguments.e, arguments.rows_per_sequence),
        p(arguments.p, arguments.rows_per_sequence),
        tied(arguments.tie_skip) {}
};

template <class T>
struct RowsOf {
  T* data = nullptr;  // null: not there
  std::int64_t stride = 0;

  explicit RowsOf(const Tensor& tensor) : data(static_cast<T*>(tensor.data)), stride(tensor.row_stride) {}
  __device__ __forceinline__ T* operator[](std::int64_t row) const { return data + row * stride; }
};

/// One factor per feature of a pack for each term of the sum.
template <int kPack>
struct FeatureFactors {
  float skip[kPack], branch[kPack], block[kPack];

  template <class Layout>
  __device__ __forceinline__ FeatureFactors(const Layout& layout, int pack, const float* a, const float* b,
                                            const float* e, const float* p) {
    float output[kPack];
    layout.read_parameters(p, pack, 1.0f, output);
    layout.read_parameters(a, pack, 1.0f, skip);
    layout.read_parameters(b, pack, 1.0f, branch);
    layout.read_parameters(e, pack, 1.0f, block);
#pragma unroll
    for (int j = 0; j < kPack; ++j) skip[j] *= output[j], branch[j] *= output[j], block[j] *= output[j];
  }
};

template <class T>
struct ForwardRows {
  RowsOf<const T> x, z, x_block;
  RowsOf<T> out;
};

/// The same for a whole row.
struct RowFactors {
  float skip, branch, block;

  __device__ __forceinline__ RowFactors(const Knobs& knobs, std::int64_t row) {
    const float p = knobs.p.row_value(row);
    skip = p * knobs.a.row_value(row);
    branch = p * knobs.b.row_value(row);
    block = p * knobs.e.row_value(row);
  }
};

/// The factors of FeatureFactors, read term by term where there are no registers to keep them in.
template <class Layout>
struct FeatureReader {
  const Layout& layout;
  int pack;
  const Knobs& knobs;

  template <int kPack>
  __device__ __forceinline__ void times_output(const CoefficientView& knob, float (&factors)[kPack]) const {
    float output[kPack];
    layout.read_parameters(knob.features(), pack, 1.0f, factors);
    layout.read_parameters(knobs.p.features(), pack, 1.0f, output);
#pragma unroll
    for (int j = 0; j < kPack; ++j) factors[j] *= output[j];
  }
};

template <int kPack>
__device__ __forceinline__ void subtract(const float (&x)[kPack], float (&z)[kPack]) {
#pragma unroll
  for (int j = 0; j < kPack; ++j) z[j] -= x[j];
}

/// What a sum p s is made of, in steps that every kernel takes alike and with multiply-adds spelled out: no
/// compiler chooses in one kernel otherwise than in another.
template <int kPack>
__device__ __forceinline__ void begin_sum(float factor, const float (&features)[kPack],
                                          const float (&x)[kPack], float (&sum)[kPack]) {
#pragma unroll
  for (int j = 0; j < kPack; ++j) sum[j] = factor * features[j] * x[j];
}
template <int kPack>
__device__ __forceinline__ void add_to_sum(float factor, const float (&features)[kPack],
                                           const float (&term)[kPack], float (&sum)[kPack]) {
#pragma unroll
  for (int j = 0; j < kPack; ++j) sum[j] = fmaf(factor * features[j], term[j], sum[j]);
}

/// Knobs per feature are read in quads beside packs of the rows.
template <class Arguments>
bool residual_vector_access(const Arguments& arguments, std::initializer_list<Tensor> rows) {
  const auto feature_of = [](const Coefficient& knob) {
    return knob.feature.elements() > 1 ? knob.feature : Tensor();
  };
  const std::int64_t cols = rows.begin()->cols();
  return vector_access(cols, rows) && vector_access(cols, {feature_of(arguments.a), feature_of(arguments.b),
                                                           feature_of(arguments.e), feature_of(arguments.p)});
}

}  // namespace plumb::cuda
