// Several streams read and written, backward. A warp takes a row: its lanes share the columns, and add up
// what the gradients of the weights need over them.
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/mix_weights.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/partial_sums.h"
#include "backends/cuda/stream_mix.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kPack = 4;
constexpr std::int64_t kMostBlocks = 528;  // four on each multiprocessor of an H100

/// Where gradients of the weights go: into their row, or, for weights that all rows share, into sums of this
/// warp and then of its block. The entries of a stream from `first` to `last` are meant.
struct WeightGradients {
  StreamEntries entries;
  float* data;
  std::int64_t stride;
  double* partials;  ///< (entries, blocks); null: every row has its own
  int first, last;

  WeightGradients(std::int64_t streams, const Tensor& dweights, double* partials_in, int first_in,
                  int last_in)
      : entries{static_cast<int>(streams)},
        data(static_cast<float*>(dweights.data)),
        stride(dweights.row_stride),
        partials(partials_in),
        first(first_in),
        last(last_in) {}

  /// `sum` is that of the whole row, the same in all lanes; called for each entry of a row once.
  __device__ __forceinline__ void add(double* of_warp, std::int64_t row, int entry, float sum) const {
    if (threadIdx.x % kWarp != 0) return;
    if (partials != nullptr) {
      of_warp[entry] += static_cast<double>(sum);
    } else {
      data[row * stride + entry] += sum;
    }
  }
  /// All threads of the block: partial sums of its warps, in ascending order.
  __device__ __forceinline__ void leave(const double (*of_warps)[kMaxStreamEntries]) const {
    if (partials == nullptr) return;
    __syncthreads();
    for (int entry = threadIdx.x; entry < entries.count(); entry += kThreads) {
      double sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += of_warps[warp][entry];
      partials[entry * std::int64_t{gridDim.x} + blockIdx.x] = sum;
    }
  }
};

/// Calls body(row) for the rows of this warp, all lanes together.
template <class Body>
__device__ __forceinline__ void for_rows_of_warp(std::int64_t rows, Body&& body) {
  const std::int64_t step = std::int64_t{gridDim.x} * kWarps;
  for (std::int64_t row = blockIdx.x * std::int64_t{kWarps} + threadIdx.x / kWarp; row < rows; row += step)
    body(row);
}

__device__ __forceinline__ void clear_sums(const StreamEntries& entries,
                                           double (*of_warps)[kMaxStreamEntries]) {
  for (int warp = 0; warp < kWarps; ++warp)
    for (int entry = threadIdx.x; entry < entries.count(); entry += kThreads) of_warps[warp][entry] = 0;
  __syncthreads();
}

template <class T>
struct ReadView {
  const T *x, *dh;
  T* dx;
  std::int64_t rows, cols, x_stride, dh_stride, dx_stride;
};

/// Reads x and dh, reads and writes dx; dh comes from a cache for the second stream and those behind it.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads, kArchitecture == 80 ? 4 : 3)
    read_backward_kernel(MixWeights weights, WeightGradients gradients, ReadView<T> view) {
  PLUMB_SHARED(double, sums, [kWarps][kMaxStreamEntries]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  clear_sums(weights.entries, sums);
  for_rows_of_warp(view.rows, [&](std::int64_t row) {
    for (int i = 0; i < weights.entries.streams; ++i) {
      const float factor = weights.row(row)[weights.entries.read(i)];
      const T* data = view.x + row * view.x_stride + i * view.cols;
      const T* upstream = view.dh + row * view.dh_stride;
      T* target = view.dx + row * view.dx_stride + i * view.cols;
      float product = 0;
      for (std::int64_t column = lane * kCount; column < view.cols; column += kWarp * kCount) {
        float values[kCount], gradient[kCount], total[kCount];
        load<kCount>(data + column, values);
        load<kCount>(upstream + column, gradient);
        load<kCount>(target + column, total);
#pragma unroll
        for (int j = 0; j < kCount; ++j) {
          product += values[j] * gradient[j];
          total[j] += factor * gradient[j];
        }
        store<kCount>(target + column, total);
      }
      gradients.add(sums[warp], row, weights.entries.read(i), warp_reduce(product, Add{}));
    }
  });
  gradients.leave(sums);
}

template <class T>
struct WriteView {
  const T *x, *o, *dout;
  T *dx, *d_o;
  std::int64_t rows, cols, x_stride, o_stride, dout_stride, dx_stride, d_o_stride;

  /// What the weights multiply: 0 is the branch, 1 + i stream i.
  __device__ __forceinline__ const T* source(std::int64_t row, int index) const {
    return index == 0 ? o + row * o_stride : x + row * x_stride + (index - 1) * cols;
  }
  __device__ __forceinline__ T* gradient(std::int64_t row, int index) const {
    return index == 0 ? d_o + row * d_o_stride : dx + row * dx_stride + (index - 1) * cols;
  }
};
/// The entry that multiplies source `index` on its way to stream `target`.
__device__ __forceinline__ int entry_of(const StreamEntries& entries, int index, int target) {
  return index == 0 ? entries.write(target) : entries.mix(index - 1, target);
}

constexpr int kFew = 4;  // streams that one pass over the columns can serve

/// At most kFew streams: everything in one pass. Reads x, o and dout, writes dx and d_o, all once.
template <class T, int kCount>
__device__ __forceinline__ void few_streams(const MixWeights& weights, const WeightGradients& gradients,
                                            const WriteView<T>& view, double* sums, std::int64_t row) {
  const StreamEntries entries = weights.entries;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float* of_row = weights.row(row);
  float products[kFew + 1][kFew] = {};
  for (std::int64_t column = lane * kCount; column < view.cols; column += kWarp * kCount) {
    float upstream[kFew][kCount] = {};  // all before dx, which may be the same view
#pragma unroll
    for (int target = 0; target < kFew; ++target)
      if (target < entries.streams)
        load<kCount>(view.dout + row * view.dout_stride + target * view.cols + column, upstream[target]);
#pragma unroll
    for (int index = 0; index <= kFew; ++index) {
      if (index > entries.streams) break;
      float data[kCount], total[kCount] = {};
      load<kCount>(view.source(row, index) + column, data);
#pragma unroll
      for (int target = 0; target < kFew; ++target) {
        if (target >= entries.streams) break;
        const float factor = of_row[entry_of(entries, index, target)];
#pragma unroll
        for (int j = 0; j < kCount; ++j) {
          products[index][target] += data[j] * upstream[target][j];
          total[j] += factor * upstream[target][j];
        }
      }
      store<kCount>(view.gradient(row, index) + column, total);
    }
  }
#pragma unroll
  for (int index = 0; index <= kFew; ++index)
#pragma unroll
    for (int target = 0; target < kFew; ++target) {
      if (index > entries.streams || target >= entries.streams) continue;
      gradients.add(sums, row, entry_of(entries, index, target), warp_reduce(products[index][target], Add{}));
    }
}

/// Inner products of up to kFew sources with up to kFew gradients, from `first_index` and `first_target` on.
template <class T, int kCount>
__device__ __forceinline__ void multiply_tile(const MixWeights& weights, const WeightGradients& gradients,
                                              const WriteView<T>& view, double* sums, std::int64_t row,
                                              int first_index, int first_target) {
  const StreamEntries entries = weights.entries;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float products[kFew][kFew] = {};
  for (std::int64_t column = lane * kCount; column < view.cols; column += kWarp * kCount) {
    float upstream[kFew][kCount] = {};
#pragma unroll
    for (int t = 0; t < kFew; ++t)
      if (first_target + t < entries.streams)
        load<kCount>(view.dout + row * view.dout_stride + (first_target + t) * view.cols + column,
                     upstream[t]);
#pragma unroll
    for (int k = 0; k < kFew; ++k) {
      if (first_index + k > entries.streams) break;
      float data[kCount];
      load<kCount>(view.source(row, first_index + k) + column, data);
#pragma unroll
      for (int t = 0; t < kFew; ++t)
#pragma unroll
        for (int j = 0; j < kCount; ++j) products[k][t] += data[j] * upstream[t][j];
    }
  }
#pragma unroll
  for (int k = 0; k < kFew; ++k)
#pragma unroll
    for (int t = 0; t < kFew; ++t) {
      const int index = first_index + k, target = first_target + t;
      if (index > entries.streams || target >= entries.streams) continue;
      gradients.add(sums, row, entry_of(entries, index, target), warp_reduce(products[k][t], Add{}));
    }
}

/// dx and d_o of a lane's own columns, each after all of its dout has been read: dx may be the same view.
template <class T>
__device__ __forceinline__ void mix_back(const MixWeights& weights, const WriteView<T>& view,
                                         std::int64_t row) {
  const StreamEntries entries = weights.entries;
  const float* of_row = weights.row(row);
  for (std::int64_t column = threadIdx.x % kWarp; column < view.cols; column += kWarp) {
    float upstream[kMaxStreams] = {};
#pragma unroll
    for (int target = 0; target < kMaxStreams; ++target)
      if (target < entries.streams)
        upstream[target] = to_float(view.dout[row * view.dout_stride + target * view.cols + column]);
    for (int index = 0; index <= entries.streams; ++index) {
      float total = 0;
#pragma unroll
      for (int target = 0; target < kMaxStreams; ++target)
        if (target < entries.streams) total += of_row[entry_of(entries, index, target)] * upstream[target];
      view.gradient(row, index)[column] = from_float<T>(total);
    }
  }
}

template <int kCount, bool kFewStreams>
constexpr int kBlocksOfWriter = kFewStreams&& kCount == 4 ? (kArchitecture == 100 ? 2 : 3)
                                : kArchitecture == 100 && !kFewStreams && kCount == 1 ? 2
                                                                                      : 0;

template <class T, int kCount, bool kFewStreams>
__global__ void __launch_bounds__(kThreads, kBlocksOfWriter<kCount, kFewStreams>)
    write_backward_kernel(MixWeights weights, WeightGradients gradients, WriteView<T> view) {
  PLUMB_SHARED(double, sums, [kWarps][kMaxStreamEntries]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, streams = weights.entries.streams;
  clear_sums(weights.entries, sums);
  for_rows_of_warp(view.rows, [&](std::int64_t row) {
    if constexpr (kFewStreams) {
      few_streams<T, kCount>(weights, gradients, view, sums[warp], row);
    } else {
      for (int index = 0; index <= streams; index += kFew)
        for (int target = 0; target < streams; target += kFew)
          multiply_tile<T, kCount>(weights, gradients, view, sums[warp], row, index, target);
      __syncwarp();  // every lane has read what mix_back may overwrite
      mix_back(weights, view, row);
    }
  });
  gradients.leave(sums);
}

/// dweights of the shared weights: the entries from `first` to `last` of every stream.
void add_shared(const char* name, cudaStream_t stream, const WeightGradients& gradients,
                std::int64_t blocks) {
  if (gradients.partials == nullptr) return;
  const int group = gradients.last - gradients.first;
  const PartialFeatures features{gradients.entries.streams * std::int64_t{group}, group,
                                 gradients.entries.step(), gradients.first};
  launch_add_partials(name, stream, gradients.partials, features, blocks, gradients.data);
}

/// Whether rows of streams can be accessed in packs.
bool allows_stream_packs(const Tensor& tensor, std::int64_t cols) {
  return cols % kPack == 0 && allows_packs(tensor, kPack);
}

template <class T, int kCount>
void launch_read_backward(cudaStream_t stream, const StreamReadBackward& arguments,
                          const WeightGradients& gradients) {
  const Tensor &x = arguments.x, &dh = arguments.dh, &dx = arguments.dx;
  const ReadView<T> view{static_cast<const T*>(x.data),
                         static_cast<const T*>(dh.data),
                         static_cast<T*>(dx.data),
                         dh.rows(),
                         dh.cols(),
                         x.row_stride,
                         dh.row_stride,
                         dx.row_stride};
  launch({"stream_read_backward", dim3(static_cast<unsigned>(stream_mix_blocks(dh.rows()))), dim3(kThreads),
          0, stream},
         read_backward_kernel<T, kCount>, MixWeights(arguments.streams, arguments.weights), gradients, view);
}

template <class T, int kCount>
void launch_write_backward(cudaStream_t stream, const StreamWriteBackward& arguments,
                           const WeightGradients& gradients) {
  const Tensor &x = arguments.x, &o = arguments.o, &dout = arguments.dout;
  const WriteView<T> view{static_cast<const T*>(x.data),
                          static_cast<const T*>(o.data),
                          static_cast<const T*>(dout.data),
                          static_cast<T*>(arguments.dx.data),
                          static_cast<T*>(arguments.do_.data),
                          o.rows(),
                          o.cols(),
                          x.row_stride,
                          o.row_stride,
                          dout.row_stride,
                          arguments.dx.row_stride,
                          arguments.do_.row_stride};
  const auto kernel = arguments.streams <= kFew ? write_backward_kernel<T, kCount, true>
                                                : write_backward_kernel<T, kCount, false>;
  launch({"stream_write_backward", dim3(static_cast<unsigned>(stream_mix_blocks(o.rows()))), dim3(kThreads),
          0, stream},
         kernel, MixWeights(arguments.streams, arguments.weights), gradients, view);
}

}  // namespace

std::int64_t stream_mix_blocks(std::int64_t rows) {
  return std::min(kMostBlocks, (rows + kWarps - 1) / kWarps);
}

void launch_stream_read_backward(cudaStream_t stream, const StreamReadBackward& arguments, double* partials) {
  const std::int64_t cols = arguments.dh.cols();
  const WeightGradients gradients(arguments.streams, arguments.dweights, partials, 0, 1);
  const bool whole = allows_stream_packs(arguments.x, cols) && allows_stream_packs(arguments.dh, cols) &&
                     allows_stream_packs(arguments.dx, cols);
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    if (whole) {
      launch_read_backward<T, kPack>(stream, arguments, gradients);
    } else {
      launch_read_backward<T, 1>(stream, arguments, gradients);
    }
  });
  add_shared("stream_read_backward_sum", stream, gradients, stream_mix_blocks(arguments.dh.rows()));
}

void launch_stream_write_backward(cudaStream_t stream, const StreamWriteBackward& arguments,
                                  double* partials) {
  const std::int64_t cols = arguments.o.cols();
  const WeightGradients gradients(arguments.streams, arguments.dweights, partials, 1,
                                  static_cast<int>(arguments.streams) + 2);
  bool whole = true;
  for (const Tensor& tensor : {arguments.x, arguments.o, arguments.dout, arguments.dx, arguments.do_})
    whole = whole && allows_stream_packs(tensor, cols);
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    if (whole) {
      launch_write_backward<T, kPack>(stream, arguments, gradients);
    } else {
      launch_write_backward<T, 1>(stream, arguments, gradients);
    }
  });
  add_shared("stream_write_backward_sum", stream, gradients, stream_mix_blocks(arguments.o.rows()));
}

}  // namespace plumb::cuda
