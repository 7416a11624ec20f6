#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/norm_function.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/moments.h"
#include "backends/cuda/observations.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct Source {
  const T* data;
  std::int64_t stride, rows;
  int cols;

  explicit Source(const Tensor& x)
      : data(static_cast<const T*>(x.data)),
        stride(x.row_stride),
        rows(x.rows()),
        cols(static_cast<int>(x.cols())) {}
  /// Calls body(value) for this thread's share of all entries.
  template <class Body>
  __device__ __forceinline__ void for_entries(Body&& body) const {
    const std::int64_t count = rows * cols;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
         i += std::int64_t{gridDim.x} * kThreads)
      body(to_float(data[i / cols * stride + i % cols]));
  }
};

/// A team has a row at a time. partials (2, row blocks): sum of squares, largest of a row.
template <class Form, class T>
__global__ void __launch_bounds__(kTeamBlock)
    row_squares_kernel(Source<T> x, std::int64_t rows_each, double* partials) {
  using Layout = typename Form::template Layout<T>;
  PLUMB_SHARED(double, scratch, [kTeamBlock / kWarp]);
  const int team = static_cast<int>(threadIdx.x) / Form::kTeam;
  const int lane = static_cast<int>(threadIdx.x) % Form::kTeam;
  const std::int64_t begin = blockIdx.x * rows_each;
  const std::int64_t end = begin + rows_each < x.rows ? begin + rows_each : x.rows;
  double sum = 0, largest = 0;  // over the team's rows, in its first lane
  for (std::int64_t first = begin; first < end; first += Form::kTeams) {
    const std::int64_t row = first + team;
    const Layout layout{lane, row < end ? x.cols : 0};
    double squares[1] = {0};
    for_packs<0>(layout, [&](int pack) {
      float values[Layout::kPack];
      layout.read(x.data + row * x.stride, pack, values);
#pragma unroll
      for (int j = 0; j < Layout::kPack; ++j)
        squares[0] += static_cast<double>(values[j]) * static_cast<double>(values[j]);
    });
    team_sum<Form::kTeam>(squares, &scratch[0]);
    if (lane != 0) continue;
    sum += squares[0];
    largest = maximum_or_nan(largest, squares[0]);
  }
  sum = block_reduce<kTeamBlock>(sum, Add{}, &scratch[0]);
  largest = block_reduce<kTeamBlock>(largest, MaximumOrNan{}, &scratch[0]);
  if (threadIdx.x != 0) return;
  partials[blockIdx.x] = sum;
  partials[std::int64_t{gridDim.x} + blockIdx.x] = largest;
}

struct Above {
  double threshold;
  __device__ __forceinline__ bool operator()(float x) const { return static_cast<double>(x) > threshold; }
};
/// In float64 the product of two floats is exact, so all backends count alike.
struct Saturated {
  const float *alpha, *offset;  // offset null: 0
  double limit;
  __device__ __forceinline__ bool operator()(float x) const {
    const double shift = offset != nullptr ? static_cast<double>(offset[0]) : 0.0;
    return fabs(static_cast<double>(alpha[0]) * static_cast<double>(x) + shift) > limit;
  }
};

template <class T, class Counts>
__global__ void __launch_bounds__(kThreads) count_kernel(Source<T> x, Counts counts, double* partials) {
  PLUMB_SHARED(long long, scratch, [kThreads / kWarp]);
  long long count = 0;
  x.for_entries([&](float value) { count += counts(value) ? 1 : 0; });
  count = block_reduce<kThreads>(count, Add{}, &scratch[0]);
  if (threadIdx.x == 0) partials[blockIdx.x] = static_cast<double>(count);
}

template <class Counts>
void launch_count(cudaStream_t stream, const char* name, const Tensor& x, const Tensor& count,
                  const Counts& counts, double* partials) {
  const std::int64_t blocks = entry_blocks(x);
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    launch({name, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream}, count_kernel<T, Counts>,
           Source<T>(x), counts, partials);
  });
  ScalarSums sums(blocks);
  sums.add(partials, count, 1);
  launch_scalar_sums(stream, sums);
}

/// Block (x, y): 256 columns of row block y. partials (row blocks, cols).
template <class T>
__global__ void __launch_bounds__(kThreads)
    column_maxima_kernel(Source<T> x, std::int64_t rows_each, float* partials) {
  const int column = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (column >= x.cols) return;
  const std::int64_t begin = blockIdx.y * rows_each;
  const std::int64_t end = begin + rows_each < x.rows ? begin + rows_each : x.rows;
  float largest = to_float(x.data[begin * x.stride + column]);
  for (std::int64_t row = begin + 1; row < end; ++row)
    largest = maximum_or_nan(largest, to_float(x.data[row * x.stride + column]));
  partials[std::int64_t{blockIdx.y} * x.cols + column] = largest;
}

__global__ void __launch_bounds__(kThreads) add_maxima_kernel(const float* partials, std::int64_t row_blocks,
                                                              int cols, const float* bias, double* maxima) {
  const int column = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (column >= cols) return;
  float largest = partials[column];
  for (std::int64_t block = 1; block < row_blocks; ++block)
    largest = maximum_or_nan(largest, partials[block * cols + column]);
  const double shift = bias != nullptr ? static_cast<double>(bias[column]) : 0.0;
  maxima[column] = maximum_or_nan(maxima[column], static_cast<double>(largest) + shift);
}

/// Whole numbers, so the order of the atomic additions does not matter.
template <class T>
__global__ void __launch_bounds__(kThreads) histogram_kernel(Source<T> x, std::uint32_t* partials) {
  PLUMB_SHARED(unsigned int, counts, [kMagnitudeBins]);
  for (int bin = static_cast<int>(threadIdx.x); bin < kMagnitudeBins; bin += kThreads) counts[bin] = 0;
  __syncthreads();
  x.for_entries([&](float value) { atomicAdd(&counts[magnitude_bin(value)], 1u); });
  __syncthreads();
  for (int bin = static_cast<int>(threadIdx.x); bin < kMagnitudeBins; bin += kThreads)
    partials[std::int64_t{blockIdx.x} * kMagnitudeBins + bin] = counts[bin];
}

__global__ void __launch_bounds__(kThreads)
    add_histogram_kernel(const std::uint32_t* partials, std::int64_t blocks, double* counts) {
  const int bin = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (bin >= kMagnitudeBins) return;
  double count = 0;
  for (std::int64_t block = 0; block < blocks; ++block)
    count += static_cast<double>(partials[block * kMagnitudeBins + bin]);
  counts[bin] += count;
}

unsigned chunks_of(std::int64_t columns) {
  return static_cast<unsigned>((columns + kThreads - 1) / kThreads);
}

}  // namespace

void launch_row_squares(cudaStream_t stream, const RowSquares& arguments, const RowBlocks& row_blocks,
                        double* partials) {
  const Tensor& x = arguments.x;
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    with_team<T>(x.cols(), vector_access(x.cols(), {x}), [&](auto form) {
      launch({"row_squares", dim3(static_cast<unsigned>(row_blocks.count)), dim3(kTeamBlock), 0, stream},
             row_squares_kernel<decltype(form), T>, Source<T>(x), row_blocks.rows_each, partials);
    });
  });
  ScalarSums sums(row_blocks.count);
  sums.add(partials, arguments.sum, 1);
  if (arguments.largest.defined()) sums.add(partials + row_blocks.count, arguments.largest, 0);
  launch_scalar_sums(stream, sums);
}

void launch_count_above(cudaStream_t stream, const CountAbove& arguments, double* partials) {
  launch_count(stream, "count_above", arguments.x, arguments.count, Above{arguments.threshold}, partials);
}

void launch_count_saturated(cudaStream_t stream, const CountSaturated& arguments, double* partials) {
  const Saturated saturated{static_cast<const float*>(arguments.alpha.data),
                            static_cast<const float*>(arguments.offset.data), arguments.limit};
  launch_count(stream, "count_saturated", arguments.x, arguments.count, saturated, partials);
}

void launch_column_maxima(cudaStream_t stream, const ColumnMaxima& arguments, float* partials) {
  const Tensor& x = arguments.x;
  const RowBlocks row_blocks = maxima_row_blocks(x);
  const unsigned chunks = chunks_of(x.cols());
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    launch(
        {"column_maxima", dim3(chunks, static_cast<unsigned>(row_blocks.count)), dim3(kThreads), 0, stream},
        column_maxima_kernel<T>, Source<T>(x), row_blocks.rows_each, partials);
  });
  launch({"column_maxima over row blocks", dim3(chunks), dim3(kThreads), 0, stream}, add_maxima_kernel,
         partials, row_blocks.count, static_cast<int>(x.cols()),
         static_cast<const float*>(arguments.bias.data), static_cast<double*>(arguments.maxima.data));
}

void launch_magnitude_histogram(cudaStream_t stream, const MagnitudeHistogram& arguments,
                                std::uint32_t* partials) {
  const std::int64_t blocks = entry_blocks(arguments.x);
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    launch({"magnitude_histogram", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream},
           histogram_kernel<T>, Source<T>(arguments.x), partials);
  });
  launch({"magnitude_histogram over blocks", dim3(chunks_of(kMagnitudeBins)), dim3(kThreads), 0, stream},
         add_histogram_kernel, partials, blocks, static_cast<double*>(arguments.counts.data));
}

}  // namespace plumb::cuda
