#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/observations.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

/// A warp has a row: 1 / its length, 0 for a row of zeros.
template <class T>
__global__ void __launch_bounds__(kThreads)
    scales_kernel(const T* x, std::int64_t stride, std::int64_t rows, int cols, double* scales) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  double squares = 0;
  for (int i = lane; row < rows && i < cols; i += kWarp) {
    const auto value = static_cast<double>(to_float(x[row * stride + i]));
    squares += value * value;
  }
  squares = warp_reduce(squares, Add{});
  if (lane == 0 && row < rows) scales[row] = squares == 0 ? 0.0 : 1 / sqrt(squares);
}

/// Block (s, c): the square of the sum of sequence s's units, for chunk c of the columns. There may be more
/// sequences than the 65535 blocks of the other dimensions.
template <class T>
__global__ void __launch_bounds__(kThreads)
    unit_sums_kernel(const T* x, std::int64_t stride, std::int64_t tokens, int cols, const double* scales,
                     double* squares) {
  PLUMB_SHARED(double, scratch, [kWarps]);
  const int column = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  const std::int64_t first = blockIdx.x * tokens;
  double sum = 0;
  for (std::int64_t t = 0; column < cols && t < tokens; ++t)
    sum += scales[first + t] * static_cast<double>(to_float(x[(first + t) * stride + column]));
  const double square = block_reduce<kThreads>(sum * sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) squares[std::int64_t{blockIdx.x} * gridDim.y + blockIdx.y] = square;
}

/// One block, a thread for each sequence at a time: in float64, because |sum of units|^2 is of the size of T
/// for rows that have nothing in common, and T is taken off.
__global__ void __launch_bounds__(kThreads)
    similarity_kernel(std::int64_t sequences, std::int64_t tokens, std::int64_t chunks, const double* scales,
                      const double* squares, double* sums) {
  PLUMB_SHARED(double, scratch, [kWarps]);
  const double pairs = static_cast<double>(tokens) * static_cast<double>(tokens - 1);
  double similarity = 0;
  for (std::int64_t sequence = threadIdx.x; sequence < sequences; sequence += kThreads) {
    double square = 0;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) square += squares[sequence * chunks + chunk];
    double lengths = 0;
    for (std::int64_t t = 0; t < tokens; ++t) lengths += scales[sequence * tokens + t] != 0 ? 1.0 : 0.0;
    similarity += (square - lengths) / pairs;
  }
  similarity = block_reduce<kThreads>(similarity, Add{}, &scratch[0]);
  if (threadIdx.x != 0) return;
  sums[kSimilarity] += similarity;
  sums[kSimilaritySequences] += static_cast<double>(sequences);
}

}  // namespace

void launch_token_similarity(cudaStream_t stream, const TokenSimilarity& arguments,
                             const SimilarityScratch& scratch) {
  const Tensor& x = arguments.x;
  const std::int64_t rows = x.rows(), tokens = arguments.rows_per_sequence, sequences = rows / tokens;
  const auto cols = static_cast<int>(x.cols());
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto* data = static_cast<const T*>(x.data);
    launch({"token_similarity lengths", dim3(static_cast<unsigned>((rows + kWarps - 1) / kWarps)),
            dim3(kThreads), 0, stream},
           scales_kernel<T>, data, x.row_stride, rows, cols, scratch.scales);
    launch({"token_similarity units",
            dim3(static_cast<unsigned>(sequences), static_cast<unsigned>(scratch.chunks)), dim3(kThreads), 0,
            stream},
           unit_sums_kernel<T>, data, x.row_stride, tokens, cols, scratch.scales, scratch.squares);
  });
  launch({"token_similarity", dim3(1), dim3(kThreads), 0, stream}, similarity_kernel, sequences, tokens,
         scratch.chunks, scratch.scales, scratch.squares, static_cast<double*>(arguments.sums.data));
}

}  // namespace plumb::cuda
