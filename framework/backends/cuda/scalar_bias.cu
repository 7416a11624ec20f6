#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/elementwise.h"
#include "backends/cuda/partial_sums.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kWantedBlocks = 1056;  // eight on each multiprocessor of an H100

template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    forward_kernel(RowPacks<kPackOf<T>> packs, const float* bias, const T* x, std::int64_t x_stride, T* y,
                   std::int64_t y_stride) {
  const float added = bias[0];
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    constexpr int kPack = kPackOf<T>;
    float values[kPack];
    packs.read_floats(x + row * x_stride + column, count, values);
#pragma unroll
    for (int j = 0; j < kPack; ++j) values[j] += added;
    packs.write_floats(y + row * y_stride + column, count, values);
  });
}

/// partials[block] = the sum of a share of the rows: a warp takes a row, its lanes neighbouring columns.
template <class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(std::int64_t rows, std::int64_t cols, const T* dy,
                                                            std::int64_t stride, double* partials) {
  constexpr int kWarps = kThreads / kWarp;
  PLUMB_SHARED(double, scratch, [kWarps]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  double sum = 0;
  for (std::int64_t row = blockIdx.x * std::int64_t{kWarps} + warp; row < rows;
       row += std::int64_t{gridDim.x} * kWarps) {
    float of_row = 0;
    for (std::int64_t i = lane; i < cols; i += kWarp) of_row += to_float(dy[row * stride + i]);
    sum += static_cast<double>(of_row);
  }
  sum = block_reduce<kThreads>(sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

}  // namespace

void launch_scalar_bias_forward(cudaStream_t stream, const ScalarBias& arguments) {
  const Tensor &x = arguments.x, &y = arguments.y;
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto packs = RowPacks<kPackOf<T>>::flat({x, y});
    launch({"scalar_bias_forward", packs.grid(), packs.block(), 0, stream}, forward_kernel<T>, packs,
           static_cast<const float*>(arguments.bias.data), static_cast<const T*>(x.data), x.row_stride,
           static_cast<T*>(y.data), y.row_stride);
  });
}

std::int64_t scalar_bias_blocks(const ScalarBiasBackward& arguments) {
  constexpr std::int64_t kWarps = kThreads / kWarp;
  return std::min(kWantedBlocks, (arguments.dy.rows() + kWarps - 1) / kWarps);
}

void launch_scalar_bias_backward(cudaStream_t stream, const ScalarBiasBackward& arguments, double* partials) {
  const Tensor& dy = arguments.dy;
  const std::int64_t blocks = scalar_bias_blocks(arguments);
  with_element(dy.dtype, [&](auto element) {
    using T = decltype(element);
    launch({"scalar_bias_backward", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream},
           backward_kernel<T>, dy.rows(), dy.cols(), static_cast<const T*>(dy.data), dy.row_stride, partials);
  });
  launch_add_partials("scalar_bias_backward_sum", stream, partials, {1}, blocks,
                      static_cast<float*>(arguments.dbias.data));
}

}  // namespace plumb::cuda
