// The mixing weights of hyper-connections from a projection of the row, and Sinkhorn's algorithm. A team of
// kLines lanes works on one row: lane i has the entries of stream i, and so line i of the matrix, in
// registers.
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/partial_sums.h"
#include "backends/cuda/stream_entries.h"
#include "backends/cuda/stream_mix.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 128;
constexpr std::int64_t kMostBlocks = 1056;  // of a backward pass: eight on each multiprocessor of an H100
constexpr int kScales = 3;                  // at most

/// What both directions read; the places of a stream's entries are 0 read, 1 write, 2 + j mix_ij.
template <class T>
struct MapView {
  StreamEntries entries;
  bool hyper;
  int iterations;
  std::int64_t rows;
  const T* raw;
  std::int64_t raw_stride;
  const float *base, *scales;

  template <class Arguments>
  explicit MapView(const Arguments& arguments)
      : entries{static_cast<int>(arguments.streams)},
        hyper(arguments.kind == StreamWeightKind::Hyper),
        iterations(arguments.iterations),
        rows(arguments.raw.rows()),
        raw(static_cast<const T*>(arguments.raw.data)),
        raw_stride(arguments.raw.row_stride),
        base(static_cast<const float*>(arguments.base.data)),
        scales(static_cast<const float*>(arguments.scales.data)) {}

  __device__ __forceinline__ int scale_index(int place) const {
    if (place == 1) return 1;
    return hyper || place == 0 ? 0 : 2;
  }
  __device__ __forceinline__ float raw_at(std::int64_t row, int entry) const {
    return to_float(raw[row * raw_stride + entry]);
  }
  __device__ __forceinline__ float logit(std::int64_t row, int line, int place) const {
    const int entry = entries.read(line) + place;
    return base[entry] + scales[scale_index(place)] * raw_at(row, entry);
  }
};

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/// The largest, or the sum, over the lanes of a team.
template <int kLines, class Operation>
__device__ __forceinline__ float team_reduce(float value, Operation operation) {
#pragma unroll
  for (int offset = kLines / 2; offset > 0; offset /= 2)
    value = operation(value, __shfl_xor_sync(kWholeWarp, value, offset));
  return value;
}
struct Larger {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// A matrix of up to kLines x kLines entries, of which this lane has a line; entries that do not exist are 0.
/// All lanes of a warp call everything together.
template <int kLines>
struct TeamMatrix {
  int n, line;
  float entries[kLines] = {};

  __device__ __forceinline__ explicit TeamMatrix(int n_in)
      : n(n_in), line(static_cast<int>(threadIdx.x) % kLines) {}

  /// entries = exp(logit) up to a factor for each column, which the first step divides out again.
  template <class T>
  __device__ __forceinline__ void exponentiate(const MapView<T>& map, std::int64_t row) {
#pragma unroll
    for (int j = 0; j < kLines; ++j) {
      if (j >= n) break;
      const float logit = line < n ? map.logit(row, line, 2 + j) : -INFINITY;
      const float largest = team_reduce<kLines>(logit, Larger{});
      entries[j] = line < n ? expf(logit - largest) : 0.0f;
    }
  }
  /// The sum of this lane's line.
  __device__ __forceinline__ float line_sum() const {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kLines; ++j) sum += entries[j];
    return sum;
  }
  /// The sum of column j, in all lanes.
  __device__ __forceinline__ float column_sum(int j) const { return team_reduce<kLines>(entries[j], Add{}); }

  /// Divides every column by its sum; returns that of column `line`.
  __device__ __forceinline__ float divide_columns() {
    float own = 1;
#pragma unroll
    for (int j = 0; j < kLines; ++j) {
      if (j >= n) break;
      const float sum = column_sum(j);
      entries[j] *= 1.0f / sum;
      if (j == line) own = sum;
    }
    return own;
  }
  /// Divides this lane's line by its sum, which it returns.
  __device__ __forceinline__ float divide_line() {
    const float sum = line < n ? line_sum() : 1.0f;
    scale_line(1.0f / sum);
    return sum;
  }
  __device__ __forceinline__ void scale_line(float factor) {
#pragma unroll
    for (int j = 0; j < kLines; ++j) entries[j] *= factor;
  }
  /// Multiplies column j by what lane j brings.
  __device__ __forceinline__ void scale_columns(float own) {
#pragma unroll
    for (int j = 0; j < kLines; ++j) {
      if (j >= n) break;
      entries[j] *= __shfl_sync(kWholeWarp, own, j, kLines);
    }
  }
};

/// The rows of this team in turn. Lanes of a warp stay together: teams without a row work on the last one,
/// and `exists` tells them to write nothing.
template <int kLines, class Body>
__device__ __forceinline__ void for_rows_of_team(std::int64_t rows, Body&& body) {
  constexpr int kTeams = kThreads / kLines;
  const std::int64_t step = std::int64_t{gridDim.x} * kTeams;
  for (std::int64_t first = blockIdx.x * std::int64_t{kTeams}; first < rows; first += step) {
    const std::int64_t row = first + threadIdx.x / kLines;
    body(row < rows ? row : rows - 1, row < rows);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    hyper_kernel(MapView<T> map, float* weights, std::int64_t stride) {
  const std::int64_t element = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  const int count = map.entries.count();
  if (element >= map.rows * count) return;
  const std::int64_t row = element / count;
  const int entry = static_cast<int>(element % count), place = entry % map.entries.step();
  weights[row * stride + entry] =
      map.base[entry] + map.scales[map.scale_index(place)] * tanhf(map.raw_at(row, entry));
}

template <class T, int kLines>
__global__ void __launch_bounds__(kThreads, kArchitecture == 80 && kLines == 16 ? 5 : 0)
    manifold_kernel(MapView<T> map, float* weights, std::int64_t stride) {
  const int n = map.entries.streams;
  for_rows_of_team<kLines>(map.rows, [&](std::int64_t row, bool exists) {
    TeamMatrix<kLines> matrix(n);
    matrix.exponentiate(map, row);
    for (int t = 0; t < map.iterations; ++t) {
      matrix.divide_columns();
      matrix.divide_line();
    }
    if (!exists || matrix.line >= n) return;
    float* target = weights + row * stride + map.entries.read(matrix.line);
    target[0] = sigmoid(map.logit(row, matrix.line, 0));
    target[1] = 2.0f * sigmoid(map.logit(row, matrix.line, 1));
#pragma unroll
    for (int j = 0; j < kLines; ++j)
      if (j < n) target[2 + j] = matrix.entries[j];
  });
}

template <class T>
struct BackwardView {
  const float* dweights;
  std::int64_t dweights_stride;
  T* draw;
  std::int64_t draw_stride;
  double* partials;  ///< (entries + scales, blocks)
};

/// What a thread has added up over its rows: the gradient of base + scale * what, of the entries of its
/// stream, and these times `what`, for each scale.
template <int kLines>
struct LineSums {
  double places[kLines + 2] = {};
  double scales[kScales] = {};

  /// Adds the gradient of one entry and writes that of `raw`; slope is d what / d raw.
  template <class T>
  __device__ __forceinline__ void spread(const MapView<T>& map, const BackwardView<T>& view, std::int64_t row,
                                         int line, int place, float dsum, float what, float slope) {
    const int scale = map.scale_index(place);
    const double product = static_cast<double>(dsum) * static_cast<double>(what);
#pragma unroll
    for (int p = 0; p < kLines + 2; ++p)
      if (p == place) places[p] += static_cast<double>(dsum);
#pragma unroll
    for (int s = 0; s < kScales; ++s)
      if (s == scale) scales[s] += product;
    view.draw[row * view.draw_stride + map.entries.read(line) + place] =
        from_float<T>(dsum * map.scales[scale] * slope);
  }

  /// All threads of the block: its sums as partial sums, teams in ascending order.
  template <class T>
  __device__ __forceinline__ void leave(const MapView<T>& map, double* partials) const {
    PLUMB_SHARED(double, scratch, [kThreads]);
    const int line = static_cast<int>(threadIdx.x) % kLines, step = map.entries.step();
#pragma unroll
    for (int place = 0; place < kLines + 2; ++place) {
      if (place >= step) break;
      scratch[threadIdx.x] = places[place];
      __syncthreads();
      if (threadIdx.x < kLines && line < map.entries.streams) {
        double sum = 0;
        for (int thread = line; thread < kThreads; thread += kLines) sum += scratch[thread];
        partials[(map.entries.read(line) + place) * std::int64_t{gridDim.x} + blockIdx.x] = sum;
      }
      __syncthreads();
    }
    PLUMB_SHARED(double, warps, [kThreads / kWarp]);
#pragma unroll
    for (int s = 0; s < kScales; ++s) {
      if (map.hyper && s == 2) break;
      const double sum = block_reduce<kThreads>(scales[s], Add{}, &warps[0]);
      if (threadIdx.x == 0) partials[(map.entries.count() + s) * std::int64_t{gridDim.x} + blockIdx.x] = sum;
    }
  }
};

template <class T, int kLines>
__global__ void __launch_bounds__(kThreads, kArchitecture == 80 && kLines == 16 ? 3 : 0)
    hyper_backward_kernel(MapView<T> map, BackwardView<T> view) {
  const int n = map.entries.streams, line = static_cast<int>(threadIdx.x) % kLines;
  LineSums<kLines> sums;
  for_rows_of_team<kLines>(map.rows, [&](std::int64_t row, bool exists) {
    if (!exists || line >= n) return;
#pragma unroll
    for (int place = 0; place < kLines + 2; ++place) {
      if (place >= n + 2) break;
      const int entry = map.entries.read(line) + place;
      const float tanh = tanhf(map.raw_at(row, entry));
      sums.spread(map, view, row, line, place, view.dweights[row * view.dweights_stride + entry], tanh,
                  1.0f - tanh * tanh);
    }
  });
  sums.leave(map, view.partials);
}

/// Sinkhorn's algorithm back and forth. The sums that the steps divide by are kept, one number of every step
/// in each lane: on the way back the matrix before a step is the one behind it times these. With g = y dy,
/// the gradient by the logarithm of y, the step back through y = x / sum x is g -= y sum g.
template <class T, int kLines>
__device__ __forceinline__ TeamMatrix<kLines> sinkhorn_backward(const MapView<T>& map,
                                                                const BackwardView<T>& view, std::int64_t row,
                                                                float* kept) {
  const int n = map.entries.streams;
  TeamMatrix<kLines> matrix(n), gradient(n);
  matrix.exponentiate(map, row);
  for (int t = 0; t < map.iterations; ++t) {
    kept[2 * t * kThreads] = matrix.divide_columns();
    kept[(2 * t + 1) * kThreads] = matrix.divide_line();
  }
  const float* upstream = view.dweights + row * view.dweights_stride + map.entries.read(matrix.line) + 2;
#pragma unroll
  for (int j = 0; j < kLines; ++j)
    gradient.entries[j] = matrix.line < n && j < n ? matrix.entries[j] * upstream[j] : 0.0f;
  for (int t = map.iterations - 1; t >= 0; --t) {
    const float of_line = gradient.line_sum();
#pragma unroll
    for (int j = 0; j < kLines; ++j) gradient.entries[j] -= matrix.entries[j] * of_line;
    matrix.scale_line(kept[(2 * t + 1) * kThreads]);
#pragma unroll
    for (int j = 0; j < kLines; ++j) {
      if (j >= n) break;
      gradient.entries[j] -= matrix.entries[j] * gradient.column_sum(j);
    }
    if (t > 0) matrix.scale_columns(kept[2 * t * kThreads]);
  }
  return gradient;
}

constexpr int kBlocksOfEightLines = kArchitecture == 80 ? 3 : kArchitecture == 100 ? 2 : 0;

template <class T, int kLines>
__global__ void __launch_bounds__(kThreads, kLines == 8 ? kBlocksOfEightLines : 0)
    manifold_backward_kernel(MapView<T> map, BackwardView<T> view) {
  PLUMB_DYNAMIC_SHARED(float, kept_sums);
  const int n = map.entries.streams, line = static_cast<int>(threadIdx.x) % kLines;
  LineSums<kLines> sums;
  for_rows_of_team<kLines>(map.rows, [&](std::int64_t row, bool exists) {
    const TeamMatrix<kLines> gradient = sinkhorn_backward<T, kLines>(map, view, row, kept_sums + threadIdx.x);
    if (!exists || line >= n) return;
    const int first = map.entries.read(line);
#pragma unroll
    for (int place = 0; place < 2; ++place) {
      const float s = sigmoid(map.logit(row, line, place));
      const float factor = (place == 1 ? 2.0f : 1.0f) * s * (1.0f - s);
      sums.spread(map, view, row, line, place,
                  factor * view.dweights[row * view.dweights_stride + first + place],
                  map.raw_at(row, first + place), 1.0f);
    }
#pragma unroll
    for (int j = 0; j < kLines; ++j) {
      if (j >= n) break;
      sums.spread(map, view, row, line, 2 + j, gradient.entries[j], map.raw_at(row, first + 2 + j), 1.0f);
    }
  });
  sums.leave(map, view.partials);
}

/// Calls body(constant) with the smallest team that has a lane for every stream.
template <class Body>
void with_lines(std::int64_t streams, Body&& body) {
  if (streams <= 1) return body(std::integral_constant<int, 1>{});
  if (streams <= 2) return body(std::integral_constant<int, 2>{});
  if (streams <= 4) return body(std::integral_constant<int, 4>{});
  if (streams <= 8) return body(std::integral_constant<int, 8>{});
  body(std::integral_constant<int, kMaxStreams>{});
}

/// Blocks that give every row a team.
std::int64_t row_blocks(std::int64_t rows, std::int64_t streams) {
  std::int64_t blocks = 0;
  with_lines(streams, [&](auto lines) {
    constexpr std::int64_t kTeams = kThreads / lines();
    blocks = (rows + kTeams - 1) / kTeams;
  });
  return blocks;
}

}  // namespace

void launch_stream_weights(cudaStream_t stream, const StreamWeights& arguments) {
  const Tensor &raw = arguments.raw, &weights = arguments.weights;
  const bool hyper = arguments.kind == StreamWeightKind::Hyper;
  const std::int64_t blocks =
      hyper ? (raw.elements() + kThreads - 1) / kThreads : row_blocks(raw.rows(), arguments.streams);
  with_element(raw.dtype, [&](auto element) {
    with_lines(hyper ? 1 : arguments.streams, [&](auto lines) {
      using T = decltype(element);
      const auto kernel = hyper ? hyper_kernel<T> : manifold_kernel<T, lines()>;
      launch({"stream_weights", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream}, kernel,
             MapView<T>(arguments), static_cast<float*>(weights.data), weights.row_stride);
    });
  });
}

std::int64_t stream_weights_blocks(const StreamWeightsBackward& arguments) {
  return std::min(kMostBlocks, row_blocks(arguments.raw.rows(), arguments.streams));
}

void launch_stream_weights_backward(cudaStream_t stream, const StreamWeightsBackward& arguments,
                                    double* partials) {
  const Tensor &raw = arguments.raw, &dweights = arguments.dweights, &draw = arguments.draw;
  const bool hyper = arguments.kind == StreamWeightKind::Hyper;
  const std::int64_t blocks = stream_weights_blocks(arguments);
  const std::size_t kept =
      hyper ? 0 : 2 * sizeof(float) * kThreads * static_cast<std::size_t>(arguments.iterations);
  with_element(raw.dtype, [&](auto element) {
    with_lines(arguments.streams, [&](auto lines) {
      using T = decltype(element);
      const auto kernel = hyper ? hyper_backward_kernel<T, lines()> : manifold_backward_kernel<T, lines()>;
      const BackwardView<T> view{static_cast<const float*>(dweights.data), dweights.row_stride,
                                 static_cast<T*>(draw.data), draw.row_stride, partials};
      launch({"stream_weights_backward", dim3(static_cast<unsigned>(blocks)), dim3(kThreads), kept, stream},
             kernel, MapView<T>(arguments), view);
    });
  });
  const std::int64_t entries = raw.cols(), scales = arguments.scales.elements();
  launch_add_partials("stream_weights_base_sum", stream, partials, {entries}, blocks,
                      static_cast<float*>(arguments.dbase.data));
  launch_add_partials("stream_weights_scale_sum", stream, partials + entries * blocks, {scales}, blocks,
                      static_cast<float*>(arguments.dscales.data));
}

}  // namespace plumb::cuda
