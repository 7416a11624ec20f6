#include "backends/cuda/device/column_sums.cuh"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/logits.cuh"
#include "backends/cuda/head_loss.h"

namespace plumb::cuda {
namespace {

constexpr int kFinishThreads = 512;

/// One block for each row of the chunk. Reads the chunk once.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    absorb_logits_kernel(LogitChunk chunk, LogitOf logit_of, const std::int32_t* targets, RowSoftmax* rows) {
  PLUMB_SHARED(float, scratch, [kThreads / kWarp]);
  const std::int64_t r = blockIdx.x;
  const float* row = chunk.values + r * chunk.stride;
  Softmax part;
  for (std::int64_t entry = threadIdx.x * kQuad; entry < chunk.count; entry += kThreads * kQuad) {
    float logits[kQuad];
    load<kQuad>(row + entry, logits);
#pragma unroll
    for (int i = 0; i < kQuad; ++i)
      logits[i] = entry + i < chunk.count ? logit_of(logits[i], logit_of.bias_of(entry + i)) : -kInfinity;
    part.absorb(logits);
  }
  Softmax whole;
  whole.largest = block_reduce<kThreads>(part.largest, MaximumOrNan{}, &scratch[0]);
  whole.sum = block_reduce<kThreads>(part.sum * rescale(part.largest, whole.largest), Add{}, &scratch[0]);
  if (threadIdx.x != 0) return;
  RowSoftmax& state = rows[chunk.first_row + r];
  float target_logit = kNaN;
  if (chunk.first > 0) {
    whole.absorb(Softmax{state.largest, state.sum});
    target_logit = state.target_logit;
  }
  const std::int64_t target = targets[chunk.first_row + r] - chunk.first;
  if (target >= 0 && target < chunk.count) target_logit = logit_of(row[target], logit_of.bias_of(target));
  state = {whole.largest, whole.sum, target_logit};
}

/// One block, so that the order of the sums is fixed; reads 16 bytes for each row.
__global__ void __launch_bounds__(kFinishThreads)
    finish_rows_kernel(std::int64_t count, const RowSoftmax* rows, const std::int32_t* targets, float* log_z,
                       double* sums) {
  PLUMB_SHARED(double, scratch, [kFinishThreads / kWarp]);
  double totals[kHeadLossMaxLogit] = {};
  double largest = -static_cast<double>(kInfinity);
  for (std::int64_t r = threadIdx.x; r < count; r += kFinishThreads) {
    const RowSoftmax row = rows[r];
    const double row_log_z = log_z_of(row.largest, row.sum);
    log_z[r] = static_cast<float>(row_log_z);
    if (targets[r] == -1) continue;
    totals[kHeadLossRows] += 1;
    totals[kHeadLossCrossEntropy] += row_log_z - static_cast<double>(row.target_logit);
    totals[kHeadLossLogZ] += row_log_z;
    totals[kHeadLossLogZSquared] += row_log_z * row_log_z;
    largest = maximum_or_nan(largest, row_log_z == row_log_z ? static_cast<double>(row.largest) : row_log_z);
  }
#pragma unroll
  for (int i = 0; i < kHeadLossMaxLogit; ++i) {
    const double total = block_reduce<kFinishThreads>(totals[i], Add{}, &scratch[0]);
    if (threadIdx.x == 0) sums[i] += total;
  }
  largest = block_reduce<kFinishThreads>(largest, MaximumOrNan{}, &scratch[0]);
  if (threadIdx.x == 0) sums[kHeadLossMaxLogit] = maximum_or_nan(sums[kHeadLossMaxLogit], largest);
}

template <class T>
struct LogitGradient {
  LogitChunk chunk;
  LogitOf logit_of;
  RowGradient rows;
  T* dlogits;
  float* partials;  // (row blocks, count), null: no dbias
};

/// Reads the chunk, writes dlogits; a thread reads what it writes, so both may be the same memory. What lies
/// behind the entries of a row is written too, with values that mean nothing.
template <class T>
__global__ void __launch_bounds__(kWalkThreads) logit_gradient_kernel(WalkShape shape, LogitGradient<T> all) {
  using Walk = ColumnWalk<float, true>;
  static_assert(Walk::kPack == kQuad);
  const Walk walk(shape);
  const LogitChunk& chunk = all.chunk;
  const std::int64_t begin = walk.layout.column(walk.chunk, 0);  // of this thread's entries
  const float scale = all.rows.scale();
  const EntryGradient gradient_of{scale, all.logit_of.soft_cap};
  float bias[kQuad], sums[kQuad] = {};
#pragma unroll
  for (int i = 0; i < kQuad; ++i) bias[i] = begin + i < chunk.count ? all.logit_of.bias_of(begin + i) : 0.0f;
  walk.for_rows([&](std::int64_t r) {
    float values[kQuad];
    const std::int64_t place = r * chunk.stride + begin;
    const std::int64_t row_target = all.rows.targets[r];
    const float log_z = all.rows.log_z[r];
    const bool exists = row_target >= -1 && row_target < all.rows.vocabulary;
    const float row_factor = exists ? scale * (1.0f + 2.0f * all.rows.z_loss * log_z) : kNaN;
    load<kQuad>(chunk.values + place, values);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      const std::int64_t entry = begin + i;
      if (row_target == -1 || entry >= chunk.count) {
        values[i] = 0;
      } else {
        values[i] = gradient_of(all.logit_of(values[i], bias[i]), log_z, row_factor,
                                row_target == chunk.first + entry);
      }
      sums[i] += values[i];
    }
    store<kQuad>(all.dlogits + place, values);
  });
  if (all.partials != nullptr) walk.leave_columns(sums, all.partials, chunk.count);
}

WalkShape gradient_shape(std::int64_t rows, std::int64_t count) {
  return WalkShape(rows, count, sizeof(float));
}

}  // namespace

void launch_absorb_logits(cudaStream_t stream, const HeadLossForward& arguments, const LogitChunk& chunk,
                          RowSoftmax* rows) {
  const auto run = [&](auto threads) {
    constexpr int kThreads = threads();
    launch({"head_loss_forward", dim3(static_cast<unsigned>(chunk.rows)), dim3(kThreads), 0, stream},
           absorb_logits_kernel<kThreads>, chunk, LogitOf(arguments, chunk.first),
           static_cast<const std::int32_t*>(arguments.targets.data), rows);
  };
  if (chunk.count <= 1024) {
    run(std::integral_constant<int, 32>{});
  } else {
    run(std::integral_constant<int, 256>{});
  }
}

void launch_finish_rows(cudaStream_t stream, const HeadLossForward& arguments, const RowSoftmax* rows) {
  launch({"head_loss_forward sums", dim3(1), dim3(kFinishThreads), 0, stream}, finish_rows_kernel,
         arguments.h.rows(), rows, static_cast<const std::int32_t*>(arguments.targets.data),
         static_cast<float*>(arguments.log_z.data), static_cast<double*>(arguments.sums.data));
}

std::int64_t logit_gradient_partials(std::int64_t rows, std::int64_t count) {
  return gradient_shape(rows, count).row_blocks.count * count;
}

void launch_logit_gradient(cudaStream_t stream, const HeadLossBackward& arguments, const LogitChunk& chunk,
                           void* dlogits, float* partials) {
  const WalkShape shape = gradient_shape(chunk.rows, chunk.count);
  with_element(arguments.h.dtype, [&](auto element) {
    using T = decltype(element);
    const LogitGradient<T> all{chunk, LogitOf(arguments, chunk.first),
                               RowGradient(arguments, chunk.first_row), static_cast<T*>(dlogits), partials};
    launch({"head_loss_backward", dim3(static_cast<unsigned>(shape.blocks())), dim3(kWalkThreads), 0, stream},
           logit_gradient_kernel<T>, shape, all);
  });
  if (partials == nullptr) return;
  ColumnSums<float, float> sums;
  sums.add(partials, shape.row_blocks.count, chunk.count,
           static_cast<float*>(arguments.dbias.data) + chunk.first);
  launch_column_sums("head_loss_backward dbias", stream, sums);
}

}  // namespace plumb::cuda
