// Several streams read and written, forward. All tensors are read once; the weights come from a cache.
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/mix_weights.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/stream_mix.h"

namespace plumb::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    read_kernel(RowPacks<kPackOf<T>> packs, MixWeights weights, std::int64_t cols, const T* x,
                std::int64_t x_stride, T* h, std::int64_t h_stride) {
  constexpr int kPack = kPackOf<T>;
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    const float* of_row = weights.row(row);
    const T* from = x + row * x_stride + column;
    float sum[kPack] = {};
#pragma unroll 4
    for (int i = 0; i < weights.entries.streams; ++i) {
      const float factor = of_row[weights.entries.read(i)];
      float values[kPack];
      packs.read_floats(from + i * cols, count, values);
#pragma unroll
      for (int j = 0; j < kPack; ++j) sum[j] += factor * values[j];
    }
    packs.write_floats(h + row * h_stride + column, count, sum);
  });
}

template <class T>
struct WriteView {
  const T *x, *o;
  T* out;
  std::int64_t cols, x_stride, o_stride, out_stride;
};

/// kMost >= streams: what a thread holds of all streams stays in registers.
template <class T, int kMost, int kPack>
__global__ void __launch_bounds__(kRowPackThreads)
    write_kernel(RowPacks<kPack> packs, MixWeights weights, WriteView<T> view) {
  const StreamEntries entries = weights.entries;
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    const float* of_row = weights.row(row);
    float branch[kPack], streams[kMost][kPack];
    packs.read_floats(view.o + row * view.o_stride + column, count, branch);
#pragma unroll
    for (int i = 0; i < kMost; ++i)
      if (i < entries.streams)
        packs.read_floats(view.x + row * view.x_stride + i * view.cols + column, count, streams[i]);
    for (int target = 0; target < entries.streams; ++target) {
      const float write = of_row[entries.write(target)];
      float sum[kPack];
#pragma unroll
      for (int j = 0; j < kPack; ++j) sum[j] = write * branch[j];
#pragma unroll
      for (int i = 0; i < kMost; ++i) {
        if (i >= entries.streams) break;
        const float factor = of_row[entries.mix(i, target)];
#pragma unroll
        for (int j = 0; j < kPack; ++j) sum[j] += factor * streams[i][j];
      }
      packs.write_floats(view.out + row * view.out_stride + target * view.cols + column, count, sum);
    }
  });
}

template <class T, int kMost, int kPack>
void launch_write(cudaStream_t stream, const StreamWrite& arguments) {
  const Tensor &x = arguments.x, &o = arguments.o, &out = arguments.out;
  const std::int64_t cols = o.cols();
  const std::int64_t second = arguments.streams > 1 ? cols : 0;  // where it begins decides for all behind it
  const RowPacks<kPack> packs(o.rows(), cols,
                              {x, o, out, x.columns(second, cols), out.columns(second, cols)});
  const WriteView<T> view{static_cast<const T*>(x.data),
                          static_cast<const T*>(o.data),
                          static_cast<T*>(out.data),
                          cols,
                          x.row_stride,
                          o.row_stride,
                          out.row_stride};
  launch({"stream_write", packs.grid(), packs.block(), 0, stream}, write_kernel<T, kMost, kPack>, packs,
         MixWeights(arguments.streams, arguments.weights), view);
}

}  // namespace

void launch_stream_read(cudaStream_t stream, const StreamRead& arguments) {
  const Tensor &x = arguments.x, &h = arguments.h;
  const std::int64_t cols = h.cols(), second = arguments.streams > 1 ? cols : 0;
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const RowPacks<kPackOf<T>> packs(h.rows(), cols, {x, h, x.columns(second, cols)});
    launch({"stream_read", packs.grid(), packs.block(), 0, stream}, read_kernel<T>, packs,
           MixWeights(arguments.streams, arguments.weights), cols, static_cast<const T*>(x.data),
           x.row_stride, static_cast<T*>(h.data), h.row_stride);
  });
}

void launch_stream_write(cudaStream_t stream, const StreamWrite& arguments) {
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    if (arguments.streams <= 4) {
      launch_write<T, 4, kPackOf<T>>(stream, arguments);
    } else {
      launch_write<T, kMaxStreams, 2>(stream, arguments);
    }
  });
}

}  // namespace plumb::cuda
