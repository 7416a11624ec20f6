// What stands before and behind the attention kernels: rowsum(dout * out), and sums and maxima over blocks.
#include "backends/cuda/attention.h"
#include "backends/cuda/attention_view.cuh"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/elements.cuh"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowThreads = 8;  // of one row of one head
constexpr int kMaximumThreads = 1024;

/// expected (B, H, T). Reads out and dout once.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_expected_kernel(AttentionView view, std::int64_t rows, HeadRows<const T> out,
                              HeadRows<const T> dout, float* expected) {
  constexpr int kPack = kPackOf<T>;
  const std::int64_t at = (blockIdx.x * std::int64_t{kThreads} + threadIdx.x) / kRowThreads;
  const int part = static_cast<int>(threadIdx.x) % kRowThreads;
  float sum = 0;
  if (at < rows) {
    const std::int64_t plane = at / view.tokens, head = plane % view.heads;
    const std::int64_t row = plane / view.heads * view.tokens + at % view.tokens;
    const T* out_row = out.data + row * out.stride + head * view.width;
    const T* dout_row = dout.data + row * dout.stride + head * view.width;
    if (view.vectors) {
#pragma unroll 1
      for (int column = part * kPack; column < view.width; column += kRowThreads * kPack) {
        float a[kPack], b[kPack];
        load<kPack>(out_row + column, a);
        load<kPack>(dout_row + column, b);
#pragma unroll
        for (int i = 0; i < kPack; ++i) sum += a[i] * b[i];
      }
    } else {
#pragma unroll 1
      for (int column = part; column < view.width; column += kRowThreads)
        sum += to_float(out_row[column]) * to_float(dout_row[column]);
    }
  }
#pragma unroll
  for (int offset = kRowThreads / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, offset);
  if (at < rows && part == 0) expected[at] = sum;
}

/// One block; the result does not depend on the order.
__global__ void __launch_bounds__(kMaximumThreads)
    attention_maximum_kernel(const float* largest, std::int64_t count, double* max_logit) {
  PLUMB_SHARED(float, scratch, [kMaximumThreads / kWarp]);
  float most = kMinusInfinity;
  for (std::int64_t i = threadIdx.x; i < count; i += kMaximumThreads) most = maximum_or_nan(most, largest[i]);
  most = block_reduce<kMaximumThreads>(most, MaximumOrNan(), scratch);
  if (threadIdx.x == 0) max_logit[0] = maximum_or_nan(max_logit[0], static_cast<double>(most));
}

/// sums[h] += over sequences and tiles of partial (B, H, tiles), for one block to a head.
__global__ void __launch_bounds__(kThreads)
    attention_entropy_kernel(const double* partial, std::int64_t sequences, std::int64_t tiles,
                             double* sums) {
  PLUMB_SHARED(double, scratch, [kThreads / kWarp]);
  const std::int64_t head = blockIdx.x, heads = gridDim.x;
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < sequences * tiles; i += kThreads)
    sum += partial[(i / tiles * heads + head) * tiles + i % tiles];
  sum = block_reduce<kThreads>(sum, Add(), scratch);
  if (threadIdx.x == 0) sums[head] += sum;
}

}  // namespace

void launch_attention_expected(cudaStream_t stream, const AttentionBackward& arguments, float* expected) {
  const AttentionShape& shape = arguments.shape;
  const AttentionView view(shape, {arguments.out, arguments.dout});
  const std::int64_t rows = shape.batch * shape.heads * shape.tokens;
  const std::int64_t blocks = (rows * kRowThreads + kThreads - 1) / kThreads;
  with_element(arguments.q.dtype, [&](auto element) {
    using T = decltype(element);
    launch({"attention_expected", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream},
           attention_expected_kernel<T>, view, rows, HeadRows<const T>(arguments.out),
           HeadRows<const T>(arguments.dout), expected);
  });
}

void launch_attention_maximum(cudaStream_t stream, const float* largest, std::int64_t count,
                              double* max_logit) {
  launch({"attention_maximum", dim3(1), dim3(kMaximumThreads), 0, stream}, attention_maximum_kernel, largest,
         count, max_logit);
}

void launch_attention_entropy(cudaStream_t stream, const double* partial, const AttentionShape& shape,
                              std::int64_t tiles, double* sums) {
  launch({"attention_entropy", dim3(static_cast<unsigned>(shape.heads)), dim3(kThreads), 0, stream},
         attention_entropy_kernel, partial, shape.batch, tiles, sums);
}

}  // namespace plumb::cuda
