#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/embedding.h"

namespace plumb::cuda {
namespace {

constexpr int kPack = 4;

struct ForwardTables {
  const std::int32_t* ids;
  std::int64_t tokens, vocabulary;
  float scale;
  const float* token;
  std::int64_t token_stride;
  const float* position;  // null: none
  std::int64_t position_stride;
};

/// An id that is not in the vocabulary gives a row of NaN.
template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    forward_kernel(RowPacks<kPack> packs, ForwardTables tables, T* out, std::int64_t stride) {
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    const std::int32_t id = tables.ids[row];
    float values[kPack], position[kPack] = {};
    if (id >= 0 && id < tables.vocabulary) {
      packs.read(tables.token + id * tables.token_stride + column, count, values);
    } else {
#pragma unroll
      for (int j = 0; j < kPack; ++j) values[j] = nanf("");
    }
    if (tables.position != nullptr)
      packs.read(tables.position + row % tables.tokens * tables.position_stride + column, count, position);
#pragma unroll
    for (int j = 0; j < kPack; ++j) values[j] = tables.scale * values[j] + position[j];
    packs.write_floats(out + row * stride + column, count, values);
  });
}

}  // namespace

void launch_embedding_forward(cudaStream_t stream, const EmbeddingForward& arguments) {
  const Tensor &token = arguments.token_table, &position = arguments.position_table, &out = arguments.out;
  const ForwardTables tables{static_cast<const std::int32_t*>(arguments.ids.data),
                             arguments.tokens,
                             token.rows(),
                             static_cast<float>(arguments.scale),
                             static_cast<const float*>(token.data),
                             token.row_stride,
                             static_cast<const float*>(position.data),
                             position.row_stride};
  const RowPacks<kPack> packs(out.rows(), out.cols(), {token, position, out});
  with_element(out.dtype, [&](auto element) {
    using T = decltype(element);
    launch({"embedding_forward", packs.grid(), packs.block(), 0, stream}, forward_kernel<T>, packs, tables,
           static_cast<T*>(out.data), out.row_stride);
  });
}

}  // namespace plumb::cuda
