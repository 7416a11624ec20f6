#include "backends/cuda/device/column_sums.cuh"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/residual.h"
#include "backends/cuda/residual_rows.cuh"

namespace plumb::cuda {
namespace {

/// Reads x, z and x_block, writes out. A pack of z is read before it is written, so out may be z.
template <class T, bool kVector>
__global__ void __launch_bounds__(kWalkThreads, kVector ? 3 : 2)
    residual_forward_kernel(WalkShape shape, Knobs knobs, ForwardRows<T> rows) {
  constexpr int kPack = kPackOf<T>;
  const ColumnWalk<T, kVector> walk(shape);
  const FeatureFactors<kPack> features(walk.layout, walk.chunk, knobs.a.features(), knobs.b.features(),
                                       knobs.e.features(), knobs.p.features());
  walk.for_rows([&](std::int64_t row) {
    float x[kPack], z[kPack], block[kPack] = {}, sum[kPack];
    walk.layout.read(rows.x[row], walk.chunk, x);
    walk.layout.read(rows.z[row], walk.chunk, z);
    if (rows.x_block.data != nullptr) walk.layout.read(rows.x_block[row], walk.chunk, block);
    const RowFactors factors(knobs, row);
    begin_sum(factors.skip, features.skip, x, sum);
    if (knobs.tied) subtract(x, z);
    add_to_sum(factors.branch, features.branch, z, sum);
    if (rows.x_block.data != nullptr) add_to_sum(factors.block, features.block, block, sum);
    walk.layout.write(rows.out[row], walk.chunk, sum);
  });
}

template <class T>
struct BackwardRows {
  RowsOf<const T> x, z, x_block, dout;
  RowsOf<T> dx, dz, dx_block;
};

/// One thread's sums for the gradients of the knobs, without the factors per feature of p, which come last.
template <int kPack>
struct KnobSums {
  float a[kPack] = {}, b[kPack] = {}, e[kPack] = {}, p[kPack] = {};

  template <class T, class Walk>
  __device__ __forceinline__ void add_row(const Walk& walk, const Knobs& knobs, const BackwardRows<T>& rows,
                                          const KnobPartials& wanted, std::int64_t row,
                                          const float (&upstream)[kPack]) {
    float x[kPack] = {}, z[kPack] = {}, block[kPack] = {};
    if (wanted.a || wanted.p || (wanted.b && knobs.tied)) walk.layout.read(rows.x[row], walk.chunk, x);
    if (wanted.b || wanted.p) walk.layout.read(rows.z[row], walk.chunk, z);
    if (wanted.e || (wanted.p && rows.x_block.data)) walk.layout.read(rows.x_block[row], walk.chunk, block);
    if (knobs.tied) {
#pragma unroll
      for (int j = 0; j < kPack; ++j) z[j] -= x[j];
    }
    const float output = knobs.p.row_data(row);
    if (wanted.a) add(a, output * knobs.a.row_factor(row), upstream, x);
    if (wanted.b) add(b, output * knobs.b.row_factor(row), upstream, z);
    if (wanted.e) add(e, output * knobs.e.row_factor(row), upstream, block);
    if (!wanted.p) return;
    float sum[kPack] = {};
    add_term(walk, knobs.a, row, x, sum);
    add_term(walk, knobs.b, row, z, sum);
    add_term(walk, knobs.e, row, block, sum);
    add(p, knobs.p.row_factor(row), upstream, sum);
  }

  /// Writes the block's partial sums; all threads call it.
  template <class Walk>
  __device__ __forceinline__ void leave(const Walk& walk, const Knobs& knobs, const KnobPartials& partials) {
    float output[kPack];
    walk.layout.read_parameters(knobs.p.data_features(), walk.chunk, 1.0f, output);
#pragma unroll
    for (int j = 0; j < kPack; ++j) a[j] *= output[j], b[j] *= output[j], e[j] *= output[j];
    leave(walk, a, knobs.a, partials.a);
    leave(walk, b, knobs.b, partials.b);
    leave(walk, e, knobs.e, partials.e);
    leave(walk, p, knobs.p, partials.p);
  }

 private:
  static __device__ __forceinline__ void add(float (&sums)[kPack], float factor,
                                             const float (&upstream)[kPack], const float (&data)[kPack]) {
#pragma unroll
    for (int j = 0; j < kPack; ++j) sums[j] += factor * upstream[j] * data[j];
  }
  template <class Walk>
  static __device__ __forceinline__ void add_term(const Walk& walk, const CoefficientView& knob,
                                                  std::int64_t row, const float (&data)[kPack],
                                                  float (&sum)[kPack]) {
    float features[kPack];
    walk.layout.read_parameters(knob.features(), walk.chunk, 1.0f, features);
    const float factor = knob.row_value(row);
#pragma unroll
    for (int j = 0; j < kPack; ++j) sum[j] += factor * features[j] * data[j];
  }
  template <class Walk>
  static __device__ __forceinline__ void leave(const Walk& walk, const float (&sums)[kPack],
                                               const CoefficientView& knob, float* partials) {
    if (partials == nullptr) return;
    if (knob.per_feature) {
      walk.leave_columns(sums, partials, walk.layout.width);
    } else {
      walk.leave_total(sums, partials);
    }
  }
};

/// One row's dx, dz and dx_block.
template <class T, class Walk>
__device__ __forceinline__ void spread(const Walk& walk, const Knobs& knobs, const BackwardRows<T>& rows,
                                       std::int64_t row, const float (&upstream)[Walk::kPack],
                                       const FeatureFactors<Walk::kPack>& features) {
  constexpr int kPack = Walk::kPack;
  float gradient[kPack];
  const float p = knobs.p.row_data(row);
  const float skip_factor = p * knobs.a.row_data(row), branch_factor = p * knobs.b.row_data(row);
  if (rows.dx_block.data != nullptr) {
    const float block_factor = p * knobs.e.row_data(row);
    walk.layout.read(rows.dx_block[row], walk.chunk, gradient);
#pragma unroll
    for (int j = 0; j < kPack; ++j) gradient[j] += upstream[j] * (block_factor * features.block[j]);
    walk.layout.write(rows.dx_block[row], walk.chunk, gradient);
  }
#pragma unroll
  for (int j = 0; j < kPack; ++j) gradient[j] = upstream[j] * (branch_factor * features.branch[j]);
  walk.layout.write(rows.dz[row], walk.chunk, gradient);
#pragma unroll
  for (int j = 0; j < kPack; ++j) {
    const float skip = skip_factor * features.skip[j];
    gradient[j] = upstream[j] * (knobs.tied ? skip - branch_factor * features.branch[j] : skip);
  }
  walk.layout.write(rows.dx[row], walk.chunk, gradient);
}

template <class Walk>
__device__ __forceinline__ FeatureFactors<Walk::kPack> data_features(const Walk& walk, const Knobs& knobs) {
  return {walk.layout,
          walk.chunk,
          knobs.a.data_features(),
          knobs.b.data_features(),
          knobs.e.data_features(),
          knobs.p.data_features()};
}

/// Reads dout (and dx_block), writes dx, dz (and dx_block); with kSums reads x, z and x_block too, as far as
/// the wanted gradients need them. dout is read before dx is written, which may be the same view.
template <class T, bool kVector, bool kSums>
__global__ void __launch_bounds__(kWalkThreads, kArchitecture == 100 && kSums && !kVector ? 1 : 2)
    residual_backward_kernel(WalkShape shape, Knobs knobs, BackwardRows<T> rows, KnobPartials partials) {
  constexpr int kPack = kPackOf<T>;
  const ColumnWalk<T, kVector> walk(shape);
  float upstream[kPack];
  if constexpr (kSums) {
    KnobSums<kPack> sums;
    walk.for_rows([&](std::int64_t row) {
      walk.layout.read(rows.dout[row], walk.chunk, upstream);
      sums.add_row(walk, knobs, rows, partials, row, upstream);
      // Read again for each row, from a cache: there are no registers to keep them in.
      spread(walk, knobs, rows, row, upstream, data_features(walk, knobs));
    });
    sums.leave(walk, knobs, partials);
  } else {
    const FeatureFactors<kPack> features = data_features(walk, knobs);
    walk.for_rows([&](std::int64_t row) {
      walk.layout.read(rows.dout[row], walk.chunk, upstream);
      spread(walk, knobs, rows, row, upstream, features);
    });
  }
}

void add_partials(const WalkShape& shape, const CoefficientGradient& gradient, const float* partials,
                  ColumnSums<float, float>& sums) {
  if (partials == nullptr) return;
  const bool single = gradient.feature.elements() == 1;
  sums.add(partials, single ? shape.blocks() : shape.row_blocks.count, single ? 1 : shape.cols,
           static_cast<float*>(gradient.feature.data));
}

}  // namespace

void launch_residual_forward(cudaStream_t stream, const ResidualForward& arguments) {
  const WalkShape shape = residual_shape(arguments.x);
  const Launch how{"residual_forward", dim3(static_cast<unsigned>(shape.blocks())), dim3(kWalkThreads), 0,
                   stream};
  const bool vector =
      residual_vector_access(arguments, {arguments.x, arguments.z, arguments.x_block, arguments.out});
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    const ForwardRows<T> rows{RowsOf<const T>(arguments.x), RowsOf<const T>(arguments.z),
                              RowsOf<const T>(arguments.x_block), RowsOf<T>(arguments.out)};
    launch(how, vector ? residual_forward_kernel<T, true> : residual_forward_kernel<T, false>, shape,
           Knobs(arguments), rows);
  });
}

void launch_residual_backward(cudaStream_t stream, const ResidualBackward& arguments,
                              const KnobPartials& partials) {
  const WalkShape shape = residual_shape(arguments.dout);
  const Launch how{"residual_backward", dim3(static_cast<unsigned>(shape.blocks())), dim3(kWalkThreads), 0,
                   stream};
  const bool vector =
      residual_vector_access(arguments, {arguments.dout, arguments.x, arguments.z, arguments.x_block,
                                         arguments.dx, arguments.dz, arguments.dx_block});
  const bool any = partials.a || partials.b || partials.e || partials.p;
  with_element(arguments.dout.dtype, [&](auto element) {
    using T = decltype(element);
    const BackwardRows<T> rows{
        RowsOf<const T>(arguments.x),    RowsOf<const T>(arguments.z), RowsOf<const T>(arguments.x_block),
        RowsOf<const T>(arguments.dout), RowsOf<T>(arguments.dx),      RowsOf<T>(arguments.dz),
        RowsOf<T>(arguments.dx_block)};
    with_flag(vector, [&](auto kVector) {
      with_flag(any, [&](auto kSums) {
        launch(how, residual_backward_kernel<T, kVector(), kSums()>, shape, Knobs(arguments), rows, partials);
      });
    });
  });
  ColumnSums<float, float> sums;
  add_partials(shape, arguments.da, partials.a, sums);
  add_partials(shape, arguments.db, partials.b, sums);
  add_partials(shape, arguments.de, partials.e, sums);
  add_partials(shape, arguments.dp, partials.p, sums);
  launch_column_sums("residual_backward knobs", stream, sums);
}

}  // namespace plumb::cuda
