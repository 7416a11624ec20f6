#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/logits.cuh"
#include "backends/cuda/head_loss.h"

namespace plumb::cuda {
namespace {

/// One block for each row of the chunk, twice over it: from its end for the softmax, then from its beginning
/// for the gradient, which finds in a cache what was read last. Gradients of 16 bits lie at half the place of
/// their logits, so what a piece of the row writes has been read by all threads before.
template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads, kArchitecture == 100 && kThreads == 1024 ? 1 : 0)
    joined_rows_kernel(LogitChunk chunk, LogitOf logit_of, RowGradient rows, RowSoftmax* states) {
  PLUMB_SHARED(float, scratch, [kThreads / kWarp]);
  constexpr int kStep = kThreads * kQuad;
  const std::int64_t r = blockIdx.x;
  const std::int64_t target = rows.targets[r], mine = std::int64_t{threadIdx.x} * kQuad;
  float* const row = chunk.values + r * chunk.stride;
  const bool has_target = target >= 0 && target < chunk.count;
  const float target_logit = has_target ? logit_of(row[target], logit_of.bias_of(target)) : kNaN;

  Softmax part;
  for (std::int64_t piece = (chunk.count - 1) / kStep * kStep; piece >= 0; piece -= kStep) {
    const std::int64_t entry = piece + mine;
    if (entry >= chunk.count) continue;
    float logits[kQuad];
    load<kQuad>(row + entry, logits);
#pragma unroll
    for (int i = 0; i < kQuad; ++i)
      logits[i] = entry + i < chunk.count ? logit_of(logits[i], logit_of.bias_of(entry + i)) : -kInfinity;
    part.absorb(logits);
  }
  const float largest = block_reduce<kThreads>(part.largest, MaximumOrNan{}, &scratch[0]);
  const float sum = block_reduce<kThreads>(part.sum * rescale(part.largest, largest), Add{}, &scratch[0]);
  if (threadIdx.x == 0) states[chunk.first_row + r] = {largest, sum, target_logit};

  const auto log_z = static_cast<float>(log_z_of(largest, sum));
  const float scale = rows.scale();
  const float row_factor = target == -1 || has_target ? scale * (1.0f + 2.0f * rows.z_loss * log_z) : kNaN;
  const EntryGradient gradient_of{scale, logit_of.soft_cap};
  T* const gradients = reinterpret_cast<T*>(row);
  for (std::int64_t piece = 0; piece < chunk.stride; piece += kStep) {
    const std::int64_t entry = piece + mine;
    const bool inside = entry < chunk.stride;
    float values[kQuad];
    if (inside) load<kQuad>(row + entry, values);
    if constexpr (sizeof(T) < sizeof(float)) __syncthreads();
    if (!inside) continue;
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      const bool counts = target != -1 && entry + i < chunk.count;
      values[i] = counts ? gradient_of(logit_of(values[i], logit_of.bias_of(entry + i)), log_z, row_factor,
                                       target == entry + i)
                         : 0.0f;
    }
    store<kQuad>(gradients + entry, values);
  }
}

}  // namespace

void launch_joined_rows(cudaStream_t stream, const HeadLossBoth& arguments, const LogitChunk& chunk,
                        RowSoftmax* rows) {
  with_element(arguments.forward.h.dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto threads) {
      constexpr int kThreads = threads();
      launch({"head_loss_both", dim3(static_cast<unsigned>(chunk.rows)), dim3(kThreads), 0, stream},
             joined_rows_kernel<T, kThreads>, chunk, LogitOf(arguments.forward, chunk.first),
             RowGradient(arguments.backward, chunk.first_row), rows);
    };
    if (chunk.count <= 1024) {
      run(std::integral_constant<int, 32>{});
    } else {
      run(std::integral_constant<int, 1024>{});
    }
  });
}

}  // namespace plumb::cuda
