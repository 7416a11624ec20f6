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
    forward_kernel(RowPacks<kPackOf<T>> packs, int width, const float* gain, const T* x,
                   std::int64_t x_stride, T* y, std::int64_t y_stride) {
  constexpr int kPack = kPackOf<T>;
  const bool one_group = width % kPack == 0;  // for a whole pack
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    const int first = static_cast<int>(column);
    const float shared = gain[first / width];
    float values[kPack];
    packs.read_floats(x + row * x_stride + column, count, values);
#pragma unroll
    for (int j = 0; j < kPack; ++j) values[j] *= one_group || j >= count ? shared : gain[(first + j) / width];
    packs.write_floats(y + row * y_stride + column, count, values);
  });
}

struct BackwardShape {
  std::int64_t rows, rows_each, row_blocks;
  int groups, width;
  unsigned packs;  ///< of a row of one group
  bool whole;      ///< all accesses are whole packs
};

BackwardShape shape_of(const GroupGainBackward& arguments) {
  const Tensor& dy = arguments.dy;
  const int pack = 16 / static_cast<int>(size_of(dy.dtype));
  BackwardShape shape{};
  shape.rows = dy.rows();
  shape.groups = static_cast<int>(arguments.groups);
  shape.width = static_cast<int>(dy.cols() / arguments.groups);
  shape.whole = shape.width % pack == 0 && allows_packs(dy, pack) && allows_packs(arguments.x, pack) &&
                allows_packs(arguments.dx, pack);
  shape.packs = static_cast<unsigned>(shape.whole ? shape.width / pack : shape.width);
  // From here on the alignment has no say, so that a plan can be made without memory.
  const std::int64_t blocks = std::max<std::int64_t>(1, kWantedBlocks / arguments.groups);
  shape.rows_each = std::max<std::int64_t>(1, (shape.rows + blocks - 1) / blocks);
  shape.row_blocks = (shape.rows + shape.rows_each - 1) / shape.rows_each;
  return shape;
}

/// Block (group, row block): dx = gain dy, and partials[group * row_blocks + row block] = sum of dy x.
/// Threads are side by side in a row of the group first, then in the next rows. Reads x and dy, writes dx,
/// all once.
template <class T, int kPack>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(BackwardShape shape, const float* gain, const T* x, std::int64_t x_stride, const T* dy,
                    std::int64_t dy_stride, T* dx, std::int64_t dx_stride, double* partials) {
  PLUMB_SHARED(double, scratch, [kThreads / kWarp]);
  const int group = static_cast<int>(blockIdx.x);
  const std::int64_t begin = blockIdx.y * shape.rows_each;
  const std::int64_t rows = shape.rows - begin < shape.rows_each ? shape.rows - begin : shape.rows_each;
  const auto packs = static_cast<unsigned>(rows * shape.packs);  // of a block: 32 bits hold them
  const float factor = gain[group];
  double sum = 0;
  for (unsigned at = threadIdx.x; at < packs; at += kThreads) {
    const std::int64_t row = begin + at / shape.packs;
    const std::int64_t column = std::int64_t{group} * shape.width + at % shape.packs * kPack;
    float upstream[kPack], data[kPack];
    load<kPack>(dy + row * dy_stride + column, upstream);  // before dx, which may be the same view
    load<kPack>(x + row * x_stride + column, data);
    float product = 0;
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      product += upstream[j] * data[j];
      upstream[j] *= factor;
    }
    store<kPack>(dx + row * dx_stride + column, upstream);
    sum += static_cast<double>(product);
  }
  if (partials == nullptr) return;
  sum = block_reduce<kThreads>(sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) partials[group * shape.row_blocks + blockIdx.y] = sum;
}

}  // namespace

void launch_group_gain_forward(cudaStream_t stream, const GroupGain& arguments) {
  const Tensor &x = arguments.x, &y = arguments.y;
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const RowPacks<kPackOf<T>> packs(x.rows(), x.cols(), {x, y});
    launch({"group_gain_forward", packs.grid(), packs.block(), 0, stream}, forward_kernel<T>, packs,
           static_cast<int>(x.cols() / arguments.groups), static_cast<const float*>(arguments.gain.data),
           static_cast<const T*>(x.data), x.row_stride, static_cast<T*>(y.data), y.row_stride);
  });
}

std::int64_t group_gain_row_blocks(const GroupGainBackward& arguments) {
  return shape_of(arguments).row_blocks;
}

void launch_group_gain_backward(cudaStream_t stream, const GroupGainBackward& arguments, double* partials) {
  const Tensor &x = arguments.x, &dy = arguments.dy, &dx = arguments.dx;
  const BackwardShape shape = shape_of(arguments);
  const dim3 grid(static_cast<unsigned>(shape.groups), static_cast<unsigned>(shape.row_blocks));
  with_element(dy.dtype, [&](auto element) {
    using T = decltype(element);
    const auto kernel = shape.whole ? backward_kernel<T, kPackOf<T>> : backward_kernel<T, 1>;
    launch({"group_gain_backward", grid, dim3(kThreads), 0, stream}, kernel, shape,
           static_cast<const float*>(arguments.gain.data), static_cast<const T*>(x.data), x.row_stride,
           static_cast<const T*>(dy.data), dy.row_stride, static_cast<T*>(dx.data), dx.row_stride, partials);
  });
  if (partials == nullptr) return;
  launch_add_partials("group_gain_backward_sum", stream, partials, {shape.groups}, shape.row_blocks,
                      static_cast<float*>(arguments.dgain.data));
}

}  // namespace plumb::cuda
