// Rows or columns of weights put back to unit 2-norm. Squares are summed in float64 throughout: those of tiny
// entries would underflow in fp32.
#include "backend/ops/optimizer.h"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/parameter.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr std::int64_t kMostRowBlocks = 32;

/// A weight and its copy in T; without one the copy is null.
template <class T>
struct SphereView {
  std::int64_t rows, cols;
  float* value;
  std::int64_t value_stride;
  T* copy;
  std::int64_t copy_stride;
  const double* step_scalars;  ///< null: no step is skipped

  __device__ __forceinline__ bool skipped() const {
    return step_scalars != nullptr && step_scalars[kStepSkipFactor] == 0;
  }
  __device__ __forceinline__ double entry(std::int64_t row, std::int64_t column) const {
    return static_cast<double>(value[row * value_stride + column]);
  }
  __device__ __forceinline__ void scale(std::int64_t row, std::int64_t column, double factor) const {
    const auto scaled = static_cast<float>(factor * entry(row, column));
    value[row * value_stride + column] = scaled;
    if (copy != nullptr) copy[row * copy_stride + column] = from_float<T>(scaled);
  }
};

/// 1 / 2-norm; 1 for a sphere of zeros.
__device__ __forceinline__ double inverse_norm(double square) {
  return square == 0 ? 1.0 : 1.0 / sqrt(square);
}

/// A warp takes a row; what it reads the second time comes from a cache.
template <class T>
__global__ void __launch_bounds__(kThreads) rows_kernel(SphereView<T> view) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row = blockIdx.x * std::int64_t{kWarps} + threadIdx.x / kWarp;
  if (row >= view.rows || view.skipped()) return;  // the whole warp
  double square = 0;
#pragma unroll 4
  for (std::int64_t i = lane; i < view.cols; i += kWarp) square += view.entry(row, i) * view.entry(row, i);
  const double factor = inverse_norm(warp_reduce(square, Add{}));
#pragma unroll 4
  for (std::int64_t i = lane; i < view.cols; i += kWarp) view.scale(row, i, factor);
}

/// How rows are cut where columns are normalised: the same for both kernels below.
struct RowCut {
  std::int64_t rows_each, count;
};
RowCut cut_rows_of(const SphereWeight& weight) {
  const std::int64_t rows = weight.value.rows();
  const std::int64_t blocks = std::max<std::int64_t>(1, std::min(kMostRowBlocks, rows / kWarps));
  const std::int64_t rows_each = (rows + blocks - 1) / blocks;
  return {rows_each, (rows + rows_each - 1) / rows_each};
}

/// Block (32 columns, row block): partials[row block, column] = sum of squares; a warp has every eighth row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    column_squares_kernel(SphereView<T> view, RowCut cut, double* partials) {
  PLUMB_SHARED(double, scratch, [kWarps][kWarp]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t column = blockIdx.x * std::int64_t{kWarp} + lane;
  const std::int64_t begin = blockIdx.y * cut.rows_each, end = begin + cut.rows_each;
  double square = 0;
  if (column < view.cols) {
#pragma unroll 4
    for (std::int64_t row = begin + warp; row < end && row < view.rows; row += kWarps)
      square += view.entry(row, column) * view.entry(row, column);
  }
  scratch[warp][lane] = square;
  __syncthreads();
  if (warp != 0 || column >= view.cols) return;
  for (int other = 1; other < kWarps; ++other) square += scratch[other][lane];
  partials[blockIdx.y * view.cols + column] = square;
}

/// Block (32 columns, row block): every lane adds up the few partial sums of its column, then scales its
/// part.
template <class T>
__global__ void __launch_bounds__(kThreads)
    scale_columns_kernel(SphereView<T> view, RowCut cut, const double* partials) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t column = blockIdx.x * std::int64_t{kWarp} + lane;
  if (column >= view.cols || view.skipped()) return;
  double square = 0;
  for (std::int64_t block = 0; block < cut.count; ++block) square += partials[block * view.cols + column];
  const double factor = inverse_norm(square);
  const std::int64_t begin = blockIdx.y * cut.rows_each, end = begin + cut.rows_each;
#pragma unroll 4
  for (std::int64_t row = begin + warp; row < end && row < view.rows; row += kWarps)
    view.scale(row, column, factor);
}

template <class T>
void launch_view(cudaStream_t stream, const SphereView<T>& view, const SphereWeight& weight,
                 double* partials) {
  if (!weight.columns) {
    launch({"normalize_rows", dim3(static_cast<unsigned>((view.rows + kWarps - 1) / kWarps)), dim3(kThreads),
            0, stream},
           rows_kernel<T>, view);
    return;
  }
  const RowCut cut = cut_rows_of(weight);
  const dim3 grid(static_cast<unsigned>((view.cols + kWarp - 1) / kWarp), static_cast<unsigned>(cut.count));
  launch({"column_squares", grid, dim3(kThreads), 0, stream}, column_squares_kernel<T>, view, cut, partials);
  launch({"scale_columns", grid, dim3(kThreads), 0, stream}, scale_columns_kernel<T>, view, cut, partials);
}

}  // namespace

std::int64_t sphere_partials(const SphereWeight& weight) {
  return weight.columns && weight.value.elements() > 0 ? cut_rows_of(weight).count * weight.value.cols() : 0;
}

void launch_normalize_sphere(cudaStream_t stream, const NormalizeSpheres& arguments,
                             const SphereWeight& weight, double* partials) {
  const Tensor &value = weight.value, &copy = weight.compute_copy;
  with_element(copy.defined() ? copy.dtype : DType::Float32, [&](auto element) {
    using T = decltype(element);
    const SphereView<T> view{value.rows(),
                             value.cols(),
                             static_cast<float*>(value.data),
                             value.row_stride,
                             static_cast<T*>(copy.data),
                             copy.row_stride,
                             static_cast<const double*>(arguments.step_scalars.data)};
    launch_view(stream, view, weight, partials);
  });
}

}  // namespace plumb::cuda
