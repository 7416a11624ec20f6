// The gradient of the token table adds up rows of equal id. Rows are sorted by id first; then blocks of
// threads add up tiles of the sorted order, and what the ends of tiles cut is put together in a last pass.
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/embedding.h"

namespace plumb::cuda {
namespace {

constexpr int kPack = 4;
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRowsOfWarp = 4;
constexpr int kBatch = 8;  // rows that a thread loads at once

/// order[rank of row r] = r, the rank being the number of rows that come before it. Every row is compared
/// with every other: with 16 thousand rows these are 2.7e8 comparisons of integers in L2, some tens of
/// microseconds of an H100, next to the 25 MB of gradients that the passes below read; a radix sort would
/// need six launches. A warp ranks kRowsOfWarp rows, its lanes sharing what they are compared with.
__global__ void __launch_bounds__(kThreads)
    rank_kernel(const std::int32_t* ids, std::int64_t rows, std::int32_t* order) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t first = (blockIdx.x * std::int64_t{kWarps} + warp) * kRowsOfWarp;
  if (first >= rows) return;  // the whole warp
  std::int32_t id[kRowsOfWarp];
  int rank[kRowsOfWarp] = {};
#pragma unroll
  for (int k = 0; k < kRowsOfWarp; ++k) id[k] = ids[first + k < rows ? first + k : rows - 1];
#pragma unroll 4
  for (std::int64_t other = lane; other < first; other += kWarp) {
    const std::int32_t of_other = ids[other];
#pragma unroll
    for (int k = 0; k < kRowsOfWarp; ++k) rank[k] += of_other <= id[k] ? 1 : 0;
  }
  if (lane < kRowsOfWarp && first + lane < rows) {  // the rows of this warp among themselves
    const std::int32_t of_other = ids[first + lane];
#pragma unroll
    for (int k = 0; k < kRowsOfWarp; ++k)
      rank[k] += of_other < id[k] || (of_other == id[k] && lane < k) ? 1 : 0;
  }
#pragma unroll 4
  for (std::int64_t other = first + kRowsOfWarp + lane; other < rows; other += kWarp) {
    const std::int32_t of_other = ids[other];
#pragma unroll
    for (int k = 0; k < kRowsOfWarp; ++k) rank[k] += of_other < id[k] ? 1 : 0;
  }
#pragma unroll
  for (int k = 0; k < kRowsOfWarp; ++k) {
    const int total = warp_reduce(rank[k], Add{});
    if (lane == 0 && first + k < rows) order[total] = static_cast<std::int32_t>(first + k);
  }
}

struct BackwardView {
  const std::int32_t *ids, *order;
  std::int64_t rows, cols, vocabulary;
  double scale;
  float* table;
  std::int64_t table_stride;
  double* cut_sums;

  __device__ __forceinline__ std::int32_t id_at(std::int64_t position) const { return ids[order[position]]; }
  /// Sums of the first (0) or last (1) run of a tile.
  __device__ __forceinline__ double* cut(std::int64_t tile, int end) const {
    return cut_sums + (2 * tile + end) * cols;
  }
  /// The row of an id that is not in the vocabulary does not exist: the forward pass has shown NaN.
  __device__ __forceinline__ bool exists(std::int32_t id) const { return id >= 0 && id < vocabulary; }
};

template <int kCount>
__device__ __forceinline__ void add_to_table(const BackwardView& view, std::int32_t id, std::int64_t column,
                                             const double (&sums)[kCount]) {
  if (!view.exists(id)) return;
  float* target = view.table + id * view.table_stride + column;
  float values[kCount];
  load<kCount>(target, values);
#pragma unroll
  for (int j = 0; j < kCount; ++j)
    values[j] = static_cast<float>(static_cast<double>(values[j]) + view.scale * sums[j]);
  store<kCount>(target, values);
}

template <int kCount>
__device__ __forceinline__ void leave_cut(double* cut, const double (&sums)[kCount]) {
#pragma unroll
  for (int j = 0; j < kCount; ++j) cut[j] = sums[j];
}

/// Block (tile, columns): there may be more tiles than the 65535 blocks of the other dimensions. A thread
/// adds up its columns of the tile's rows, one run of equal ids after the other. A run that lies within the
/// tile goes to the table at once; the runs that its ends cut go to cut_sums.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads)
    tile_kernel(BackwardView view, const T* dout, std::int64_t stride) {
  PLUMB_SHARED(std::int32_t, tile_rows, [kEmbeddingTile]);
  PLUMB_SHARED(std::int32_t, tile_ids, [kEmbeddingTile]);
  const std::int64_t tile = blockIdx.x, begin = tile * kEmbeddingTile;
  const std::int64_t rest = view.rows - begin;
  const int rows = static_cast<int>(rest < kEmbeddingTile ? rest : kEmbeddingTile);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < rows) {
    tile_rows[thread] = view.order[begin + thread];
    tile_ids[thread] = view.ids[tile_rows[thread]];
  }
  __syncthreads();
  const std::int64_t column = (blockIdx.y * std::int64_t{kThreads} + thread) * kCount;
  if (column >= view.cols) return;
  const bool cut_before = begin > 0 && view.id_at(begin - 1) == tile_ids[0];
  const bool cut_behind = rest > rows && view.id_at(begin + rows) == tile_ids[rows - 1];
  int run = 0;  // where it begins
  double sums[kCount] = {};
  for (int first = 0; first < rows; first += kBatch) {
    float values[kBatch][kCount];  // loaded ahead of the stores, which would hold the loads up
#pragma unroll
    for (int k = 0; k < kBatch; ++k)
      if (first + k < rows) load<kCount>(dout + tile_rows[first + k] * stride + column, values[k]);
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int at = first + k;
      if (at >= rows) break;
#pragma unroll
      for (int j = 0; j < kCount; ++j) sums[j] += static_cast<double>(values[k][j]);
      const bool last = at + 1 == rows;
      if (!last && tile_ids[at + 1] == tile_ids[at]) continue;
      const bool continues = run == 0 && cut_before;  // a run through the whole tile counts as its first
      if (continues || (last && cut_behind)) {
        leave_cut<kCount>(view.cut(tile, continues ? 0 : 1) + column, sums);
      } else {
        add_to_table<kCount>(view, tile_ids[at], column, sums);
      }
      run = at + 1;
#pragma unroll
      for (int j = 0; j < kCount; ++j) sums[j] = 0;
    }
  }
}

/// Block (tile, columns): where a run begins in the tile and goes on behind it, adds up its parts in
/// ascending order of rows.
template <int kCount>
__global__ void __launch_bounds__(kThreads) cut_kernel(BackwardView view) {
  const std::int64_t column = (blockIdx.y * std::int64_t{kThreads} + threadIdx.x) * kCount;
  const std::int64_t tile = blockIdx.x, begin = tile * kEmbeddingTile, end = begin + kEmbeddingTile;
  if (column >= view.cols || end >= view.rows) return;
  const std::int32_t id = view.id_at(end - 1);
  const bool begins_here = begin == 0 || view.id_at(begin - 1) != id;
  if (!begins_here || view.id_at(end) != id) return;
  double sums[kCount];
  const double* first = view.cut(tile, 1) + column;
#pragma unroll
  for (int j = 0; j < kCount; ++j) sums[j] = first[j];
  for (std::int64_t at = end; at < view.rows && view.id_at(at) == id; at += kEmbeddingTile) {
    const double* part = view.cut(at / kEmbeddingTile, 0) + column;
#pragma unroll
    for (int j = 0; j < kCount; ++j) sums[j] += part[j];
  }
  add_to_table<kCount>(view, id, column, sums);
}

/// dposition[t] += dout of the rows t, t + tokens, ...
template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    position_kernel(RowPacks<kPack> packs, std::int64_t rows, std::int64_t tokens, const T* dout,
                    std::int64_t stride, float* table, std::int64_t table_stride) {
  packs.for_each([&](std::int64_t position, std::int64_t column, int count) {
    double sums[kPack] = {};
#pragma unroll 4
    for (std::int64_t row = position; row < rows; row += tokens) {
      float values[kPack];
      packs.read_floats(dout + row * stride + column, count, values);
#pragma unroll
      for (int j = 0; j < kPack; ++j) sums[j] += static_cast<double>(values[j]);
    }
    float total[kPack];
    float* target = table + position * table_stride + column;
    packs.read(target, count, total);
#pragma unroll
    for (int j = 0; j < kPack; ++j) total[j] = static_cast<float>(static_cast<double>(total[j]) + sums[j]);
    packs.write(target, count, total);
  });
}

template <class T, int kCount>
void launch_tokens(cudaStream_t stream, const BackwardView& view, const Tensor& dout) {
  const std::int64_t tiles = (view.rows + kEmbeddingTile - 1) / kEmbeddingTile;
  const std::int64_t columns = (view.cols + kThreads * kCount - 1) / (kThreads * kCount);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(columns));
  launch({"embedding_backward", grid, dim3(kThreads), 0, stream}, tile_kernel<T, kCount>, view,
         static_cast<const T*>(dout.data), dout.row_stride);
  launch({"embedding_backward_cuts", grid, dim3(kThreads), 0, stream}, cut_kernel<kCount>, view);
}

template <class T>
void launch_positions(cudaStream_t stream, const EmbeddingBackward& arguments) {
  const Tensor &dout = arguments.dout, &table = arguments.dposition_table;
  const RowPacks<kPack> packs(std::min(arguments.tokens, dout.rows()), dout.cols(), {dout, table});
  launch({"embedding_backward_positions", packs.grid(), packs.block(), 0, stream}, position_kernel<T>, packs,
         dout.rows(), arguments.tokens, static_cast<const T*>(dout.data), dout.row_stride,
         static_cast<float*>(table.data), table.row_stride);
}

}  // namespace

void launch_embedding_backward(cudaStream_t stream, const EmbeddingBackward& arguments,
                               const EmbeddingScratch& scratch) {
  const Tensor &dout = arguments.dout, &table = arguments.dtoken_table;
  const auto* ids = static_cast<const std::int32_t*>(arguments.ids.data);
  const std::int64_t ranked = kWarps * kRowsOfWarp;  // rows of a block
  launch({"embedding_backward_order", dim3(static_cast<unsigned>((dout.rows() + ranked - 1) / ranked)),
          dim3(kThreads), 0, stream},
         rank_kernel, ids, dout.rows(), scratch.order);
  const BackwardView view{ids,
                          scratch.order,
                          dout.rows(),
                          dout.cols(),
                          table.rows(),
                          arguments.scale,
                          static_cast<float*>(table.data),
                          table.row_stride,
                          scratch.cut_sums};
  const bool whole = dout.cols() % kPack == 0 && allows_packs(dout, kPack) && allows_packs(table, kPack);
  with_element(dout.dtype, [&](auto element) {
    using T = decltype(element);
    if (whole) {
      launch_tokens<T, kPack>(stream, view, dout);
    } else {
      launch_tokens<T, 1>(stream, view, dout);
    }
    if (arguments.dposition_table.defined()) launch_positions<T>(stream, arguments);
  });
}

}  // namespace plumb::cuda
