// Coefficient maps and gains of rows.
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/parameter.h"
#include "backends/cuda/partial_sums.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kPack = 4;

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ float map_value(CoefficientMapKind kind, float x) {
  return kind == CoefficientMapKind::Absolute ? fabsf(x) : 1.0f - x * sigmoid(x);
}
__device__ __forceinline__ float map_slope(CoefficientMapKind kind, float x) {
  if (kind == CoefficientMapKind::Absolute) return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
  const float s = sigmoid(x);
  return -s * (1.0f + x * (1.0f - s));
}

__global__ void __launch_bounds__(kThreads)
    map_forward_kernel(CoefficientMapKind kind, std::int64_t n, const float* x, float* y) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i < n) y[i] = map_value(kind, x[i]);
}

__global__ void __launch_bounds__(kThreads)
    map_backward_kernel(CoefficientMapKind kind, std::int64_t n, const float* x, const float* dy, float* dx) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i < n) dx[i] += dy[i] * map_slope(kind, x[i]);
}

/// The factor of each row of a RowGain.
struct RowFactors {
  const float *scalar, *gain;  // null: 1
  bool single;                 ///< one gain for all rows

  template <class Arguments>
  explicit RowFactors(const Arguments& arguments)
      : scalar(static_cast<const float*>(arguments.scalar.data)),
        gain(static_cast<const float*>(arguments.gain.data)),
        single(arguments.gain.elements() == 1) {}
  __device__ __forceinline__ float common() const { return scalar != nullptr ? scalar[0] : 1.0f; }
  __device__ __forceinline__ float of(std::int64_t row) const {
    return gain != nullptr ? common() * gain[single ? 0 : row] : common();
  }
};

template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    gain_forward_kernel(RowPacks<kPackOf<T>> packs, RowFactors factors, const T* x, std::int64_t x_stride,
                        T* y, std::int64_t y_stride) {
  constexpr int kElements = kPackOf<T>;
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    const float factor = factors.of(row);
    float values[kElements];
    packs.read_floats(x + row * x_stride + column, count, values);
#pragma unroll
    for (int j = 0; j < kElements; ++j) values[j] *= factor;
    packs.write_floats(y + row * y_stride + column, count, values);
  });
}

struct GainGradients {
  float* dgain;      ///< null: not wanted
  double* partials;  ///< for a single gain, else null
};

/// A warp takes a row: dx += factor dy, and the gradient of its gain is scalar * x . dy. Reads dy and dx
/// once, and x where the gradient is wanted.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads)
    gain_backward_kernel(RowFactors factors, GainGradients gradients, std::int64_t rows, std::int64_t cols,
                         const T* x, std::int64_t x_stride, const float* dy, std::int64_t dy_stride,
                         float* dx, std::int64_t dx_stride) {
  PLUMB_SHARED(double, scratch, [kWarps]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row = blockIdx.x * std::int64_t{kWarps} + warp;
  double gradient = 0;  // across a row in float64 too: the terms cancel
  if (row < rows) {
    const float factor = factors.of(row);
    for (std::int64_t column = lane * kCount; column < cols; column += kWarp * kCount) {
      float upstream[kCount], total[kCount], data[kCount] = {};
      load<kCount>(dy + row * dy_stride + column, upstream);
      load<kCount>(dx + row * dx_stride + column, total);
      if (gradients.dgain != nullptr) load<kCount>(x + row * x_stride + column, data);
      float product = 0;
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        product += data[j] * upstream[j];
        total[j] += factor * upstream[j];
      }
      gradient += static_cast<double>(product);
      store<kCount>(dx + row * dx_stride + column, total);
    }
  }
  if (gradients.dgain == nullptr) return;
  gradient = static_cast<double>(factors.common()) * warp_reduce(gradient, Add{});
  if (gradients.partials == nullptr) {
    if (lane == 0 && row < rows) gradients.dgain[row] += static_cast<float>(gradient);
    return;
  }
  if (lane == 0) scratch[warp] = gradient;  // 0 where there is no row
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int other = 0; other < kWarps; ++other) sum += scratch[other];
  gradients.partials[blockIdx.x] = sum;
}

dim3 blocks_for(std::int64_t n) { return dim3(static_cast<unsigned>((n + kThreads - 1) / kThreads)); }

}  // namespace

void launch_coefficient_map_forward(cudaStream_t stream, const CoefficientMap& arguments) {
  const std::int64_t n = arguments.x.elements();
  launch({"coefficient_map_forward", blocks_for(n), dim3(kThreads), 0, stream}, map_forward_kernel,
         arguments.kind, n, static_cast<const float*>(arguments.x.data),
         static_cast<float*>(arguments.y.data));
}

void launch_coefficient_map_backward(cudaStream_t stream, const CoefficientMapBackward& arguments) {
  const std::int64_t n = arguments.x.elements();
  launch({"coefficient_map_backward", blocks_for(n), dim3(kThreads), 0, stream}, map_backward_kernel,
         arguments.kind, n, static_cast<const float*>(arguments.x.data),
         static_cast<const float*>(arguments.dy.data), static_cast<float*>(arguments.dx.data));
}

void launch_row_gain_forward(cudaStream_t stream, const RowGain& arguments) {
  const Tensor &x = arguments.x, &y = arguments.y;
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const RowPacks<kPackOf<T>> packs(x.rows(), x.cols(), {x, y});
    launch({"row_gain_forward", packs.grid(), packs.block(), 0, stream}, gain_forward_kernel<T>, packs,
           RowFactors(arguments), static_cast<const T*>(x.data), x.row_stride, static_cast<T*>(y.data),
           y.row_stride);
  });
}

std::int64_t row_gain_blocks(const RowGainBackward& arguments) {
  return (arguments.x.rows() + kWarps - 1) / kWarps;
}

void launch_row_gain_backward(cudaStream_t stream, const RowGainBackward& arguments, double* partials) {
  const Tensor &x = arguments.x, &dy = arguments.dy, &dx = arguments.dx;
  const std::int64_t blocks = row_gain_blocks(arguments);
  const bool whole =
      x.cols() % kPack == 0 && allows_packs(x, kPack) && allows_packs(dy, kPack) && allows_packs(dx, kPack);
  const GainGradients gradients{static_cast<float*>(arguments.dgain.data), partials};
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto kernel = whole ? gain_backward_kernel<T, kPack> : gain_backward_kernel<T, 1>;
    launch({"row_gain_backward", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream}, kernel,
           RowFactors(arguments), gradients, x.rows(), x.cols(), static_cast<const T*>(x.data), x.row_stride,
           static_cast<const float*>(dy.data), dy.row_stride, static_cast<float*>(dx.data), dx.row_stride);
  });
  if (partials != nullptr)
    launch_add_partials("row_gain_backward_sum", stream, partials, {1}, blocks, gradients.dgain);
}

}  // namespace plumb::cuda
