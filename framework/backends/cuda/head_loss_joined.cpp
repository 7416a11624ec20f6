// Forward and backward of the head over rows with their whole vocabulary, so that logits are made once: the
// gradients of a chunk of them take their place before the next chunk is made.
#include <algorithm>

#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/head_chunks.h"
#include "backends/cuda/head_products.h"
#include "backends/cuda/stream.h"

namespace plumb::cuda {
namespace {

struct JoinedScratch {
  JoinedScratch(WorkspaceCarver& carver, std::int64_t rows, const HeadLossForward& arguments)
      : stride(padded_logits(arguments.weight.rows())),
        logits(carver.take<float>(rows * stride)),
        rows(carver.take<RowSoftmax>(arguments.h.rows())) {}

  /// The gradients in the place of so many rows of logits.
  Tensor dlogits(const HeadLossForward& arguments, std::int64_t count) const {
    const DType dtype = arguments.h.dtype;
    const auto shorter = static_cast<std::int64_t>(sizeof(float) / size_of(dtype));
    return chunk_view(logits, dtype, count, arguments.weight.rows(), stride * shorter);
  }
  std::int64_t stride;
  float* logits;
  RowSoftmax* rows;
};

}  // namespace

std::int64_t CudaHeadLoss::joined_rows(const HeadLossForward& arguments) const {
  return HeadChunks::joined_rows(arguments.h.rows(), arguments.weight.rows(), chunk_logits_, joined_rows_);
}

void CudaHeadLoss::head_loss_both(Stream& stream, const HeadLossBoth& arguments) const {
  // The gradient of a bias is of what is not rounded yet.
  if (arguments.backward.dbias.defined()) return HeadLossOps::head_loss_both(stream, arguments);
  const HeadLossForward& forward = arguments.forward;
  const HeadLossBackward& backward = arguments.backward;
  check_forward("head_loss_both", forward);
  check_backward("head_loss_both", backward);
  const cudaStream_t handle = handle_of(stream);
  const std::int64_t most = joined_rows(forward), vocabulary = forward.weight.rows();
  WorkspaceCarver carver(backward.workspace);
  const JoinedScratch scratch(carver, most, forward);
  const auto multiply = [&](MatrixProduct product) {
    product.workspace = carver.rest();
    products_.run(handle, product);
  };
  HeadChunks::walk(forward.h.rows(), most, [&](std::int64_t first, std::int64_t count) {
    const Tensor h = forward.h.row_range(first, count);
    const Tensor logits = chunk_view(scratch.logits, DType::Float32, count, vocabulary, scratch.stride);
    multiply(logits_product(h, forward.weight, logits));
    launch_joined_rows(handle, arguments, {scratch.logits, scratch.stride, first, count, 0, vocabulary},
                       scratch.rows);
    const Tensor dlogits = scratch.dlogits(forward, count);
    multiply(dh_product(dlogits, forward.weight, backward.dh.row_range(first, count), false));
    multiply(dweight_product(dlogits, h, backward.dweight, backward.accumulate || first > 0));
  });
  launch_finish_rows(handle, forward, scratch.rows);
}

std::size_t CudaHeadLoss::head_loss_both_workspace(const HeadLossBoth& arguments) const {
  if (arguments.backward.dbias.defined()) return HeadLossOps::head_loss_both_workspace(arguments);
  const HeadLossForward& forward = arguments.forward;
  const HeadLossBackward& backward = arguments.backward;
  const std::int64_t most = joined_rows(forward), vocabulary = forward.weight.rows();
  WorkspaceCarver carver;
  const JoinedScratch scratch(carver, most, forward);
  std::size_t products = 0;
  const auto plan = [&](const MatrixProduct& product) {
    products = std::max(products, products_.workspace(product));
  };
  for (const std::int64_t rows : {most, forward.h.rows() % most}) {
    if (rows == 0) continue;
    const Tensor h = forward.h.row_range(0, rows), dlogits = scratch.dlogits(forward, rows);
    plan(logits_product(h, forward.weight,
                        chunk_view(nullptr, DType::Float32, rows, vocabulary, scratch.stride)));
    plan(dh_product(dlogits, forward.weight, backward.dh.row_range(0, rows), false));
    for (const bool accumulate : {false, true})
      plan(dweight_product(dlogits, h, backward.dweight, accumulate));
  }
  return carver.bytes() + products;
}

}  // namespace plumb::cuda
