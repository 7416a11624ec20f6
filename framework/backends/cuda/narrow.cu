#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/row_layout.cuh"
#include "backends/cuda/narrow.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256, kQuad = 4;

/// A thread has four neighbouring columns of one row. Reads x, writes y.
template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads)
    narrow_kernel(std::int64_t rows, std::int64_t cols, const float* x, std::int64_t x_stride, T* y,
                  std::int64_t y_stride) {
  const std::int64_t quads = (cols + kQuad - 1) / kQuad;
  const std::int64_t quad = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (quad >= rows * quads) return;
  const std::int64_t row = quad / quads, column = quad % quads * kQuad;
  const float* source = x + row * x_stride + column;
  T* target = y + row * y_stride + column;
  if constexpr (kVector) {
    float values[kQuad];
    load<kQuad>(source, values);
    store<kQuad>(target, values);
  } else {
    for (int i = 0; i < kQuad && column + i < cols; ++i) target[i] = from_float<T>(source[i]);
  }
}

}  // namespace

void launch_narrow(const char* name, cudaStream_t stream, const Tensor& x, const Tensor& y) {
  const std::int64_t quads = x.rows() * ((x.cols() + kQuad - 1) / kQuad);
  if (quads == 0) return;
  with_element(y.dtype, [&](auto element) {
    using T = decltype(element);
    with_flag(vector_access(x.cols(), {x, y}), [&](auto kVector) {
      launch(
          {name, dim3(static_cast<unsigned>((quads + kThreads - 1) / kThreads)), dim3(kThreads), 0, stream},
          narrow_kernel<T, kVector()>, x.rows(), x.cols(), static_cast<const float*>(x.data), x.row_stride,
          static_cast<T*>(y.data), y.row_stride);
    });
  });
}

}  // namespace plumb::cuda
