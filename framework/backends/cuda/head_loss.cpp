// Logits exist in chunks, and are computed again in the backward pass.
#include "backends/cuda/head_loss.h"

#include <algorithm>

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/head_chunks.h"
#include "backends/cuda/head_products.h"
#include "backends/cuda/narrow.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

/// The rows of a chunk begin at aligned addresses, whatever the vocabulary.
std::int64_t stride_of(const HeadChunks& chunks) {
  const std::int64_t entries = std::min(chunks.vocabulary, chunks.total_vocabulary);
  return padded_logits(entries);
}

std::int64_t chunk_elements(const HeadChunks& chunks) {
  return std::min(chunks.rows, chunks.total_rows) * stride_of(chunks);
}

struct ForwardScratch {
  ForwardScratch(WorkspaceCarver& carver, const HeadChunks& chunks)
      : logits(carver.take<float>(chunk_elements(chunks))),
        rows(carver.take<RowSoftmax>(chunks.total_rows)) {}
  float* logits;
  RowSoftmax* rows;
};

struct BackwardScratch {
  BackwardScratch(WorkspaceCarver& carver, const HeadChunks& chunks, const HeadLossBackward& arguments)
      : logits(carver.take<float>(chunk_elements(chunks))), dlogits(logits) {
    if (arguments.h.dtype != DType::Float32) {
      dlogits = carver.take<std::uint16_t>(chunk_elements(chunks));
      const std::int64_t rows = std::min(chunks.rows, chunks.total_rows);
      if (!chunks.whole_vocabulary()) dh = carver.take<float>(rows * arguments.h.cols());
    }
    if (!arguments.dbias.defined()) return;
    std::int64_t most = 0;
    chunks.for_sizes([&](std::int64_t rows, std::int64_t entries) {
      most = std::max(most, logit_gradient_partials(rows, entries));
    });
    partials = carver.take<float>(most);
  }
  float* logits;
  void* dlogits;              ///< in the compute dtype
  float* dh = nullptr;        ///< 16-bit dtypes: sum over chunks of the vocabulary, rounded once
  float* partials = nullptr;  ///< of dbias
};

class Backward {
 public:
  Backward(const HeadLossBackward& arguments, const MatrixProducts& products, const HeadChunks& chunks,
           cudaStream_t stream)
      : arguments_(arguments),
        products_(products),
        chunks_(chunks),
        stream_(stream),
        carver_(arguments.workspace),
        scratch_(carver_, chunks, arguments) {}

  void run() const {
    HeadChunks::walk(chunks_.total_rows, chunks_.rows, [&](std::int64_t first_row, std::int64_t rows) {
      const Tensor dh = arguments_.dh.row_range(first_row, rows);
      const Tensor sum =
          scratch_.dh == nullptr ? dh : Tensor(scratch_.dh, DType::Float32, Shape{rows, arguments_.h.cols()});
      HeadChunks::walk(
          chunks_.total_vocabulary, chunks_.vocabulary,
          [&](std::int64_t first, std::int64_t count) { run_chunk(first_row, rows, first, count, sum); });
      if (scratch_.dh != nullptr) launch_narrow("head_loss_backward dh", stream_, sum, dh);
    });
  }

 private:
  void run_chunk(std::int64_t first_row, std::int64_t rows, std::int64_t first, std::int64_t count,
                 const Tensor& dh) const {
    const Tensor h = arguments_.h.row_range(first_row, rows);
    const Tensor weight = arguments_.weight.row_range(first, count);
    const std::int64_t stride = stride_of(chunks_);
    multiply(logits_product(h, weight, chunk_view(scratch_.logits, DType::Float32, rows, count, stride)));
    launch_logit_gradient(stream_, arguments_, {scratch_.logits, stride, first_row, rows, first, count},
                          scratch_.dlogits, scratch_.partials);
    const Tensor dlogits = chunk_view(scratch_.dlogits, h.dtype, rows, count, stride);
    multiply(dh_product(dlogits, weight, dh, first > 0));
    multiply(dweight_product(dlogits, h, arguments_.dweight.row_range(first, count),
                             arguments_.accumulate || first_row > 0));
  }
  void multiply(MatrixProduct product) const {
    product.workspace = carver_.rest();
    products_.run(stream_, product);
  }

  const HeadLossBackward& arguments_;
  const MatrixProducts& products_;
  const HeadChunks& chunks_;
  cudaStream_t stream_;
  WorkspaceCarver carver_;
  BackwardScratch scratch_;
};

}  // namespace

void CudaHeadLoss::head_loss_forward(Stream& stream, const HeadLossForward& arguments) const {
  const char* op = "head_loss_forward";
  check_forward(op, arguments);
  const HeadChunks chunks(arguments.h.rows(), arguments.weight.rows(), chunk_logits_);
  WorkspaceCarver carver(arguments.workspace);
  const ForwardScratch scratch(carver, chunks);
  const cudaStream_t handle = handle_of(stream);
  const std::int64_t stride = stride_of(chunks);
  HeadChunks::walk(chunks.total_rows, chunks.rows, [&](std::int64_t first_row, std::int64_t rows) {
    HeadChunks::walk(chunks.total_vocabulary, chunks.vocabulary, [&](std::int64_t first, std::int64_t count) {
      MatrixProduct product =
          logits_product(arguments.h.row_range(first_row, rows), arguments.weight.row_range(first, count),
                         chunk_view(scratch.logits, DType::Float32, rows, count, stride));
      product.workspace = carver.rest();
      products_.run(handle, product);
      launch_absorb_logits(handle, arguments, {scratch.logits, stride, first_row, rows, first, count},
                           scratch.rows);
    });
  });
  launch_finish_rows(handle, arguments, scratch.rows);
}

void CudaHeadLoss::head_loss_backward(Stream& stream, const HeadLossBackward& arguments) const {
  const char* op = "head_loss_backward";
  check_backward(op, arguments);
  const HeadChunks chunks(arguments.h.rows(), arguments.weight.rows(), chunk_logits_);
  Backward(arguments, products_, chunks, handle_of(stream)).run();
}

std::size_t CudaHeadLoss::head_loss_forward_workspace(const HeadLossForward& arguments) const {
  const HeadChunks chunks(arguments.h.rows(), arguments.weight.rows(), chunk_logits_);
  WorkspaceCarver carver;
  ForwardScratch(carver, chunks);
  std::size_t products = 0;
  chunks.for_sizes([&](std::int64_t rows, std::int64_t entries) {
    const auto product =
        logits_product(arguments.h.row_range(0, rows), arguments.weight.row_range(0, entries),
                       chunk_view(nullptr, DType::Float32, rows, entries, stride_of(chunks)));
    products = std::max(products, products_.workspace(product));
  });
  return carver.bytes() + products;
}

std::size_t CudaHeadLoss::head_loss_backward_workspace(const HeadLossBackward& arguments) const {
  const HeadChunks chunks(arguments.h.rows(), arguments.weight.rows(), chunk_logits_);
  const DType dtype = arguments.h.dtype;
  WorkspaceCarver carver;
  BackwardScratch(carver, chunks, arguments);
  std::size_t products = 0;
  const auto plan = [&](const MatrixProduct& product) {
    products = std::max(products, products_.workspace(product));
  };
  chunks.for_sizes([&](std::int64_t rows, std::int64_t entries) {
    const Tensor h = arguments.h.row_range(0, rows), weight = arguments.weight.row_range(0, entries);
    const std::int64_t stride = stride_of(chunks);
    const Tensor dlogits = chunk_view(nullptr, dtype, rows, entries, stride);
    const bool whole = chunks.whole_vocabulary() || dtype == DType::Float32;
    const Tensor dh = whole ? arguments.dh.row_range(0, rows)
                            : Tensor(nullptr, DType::Float32, Shape{rows, arguments.h.cols()});
    plan(logits_product(h, weight, chunk_view(nullptr, DType::Float32, rows, entries, stride)));
    for (const bool accumulate : {false, true}) {
      plan(dweight_product(dlogits, h, arguments.dweight.row_range(0, entries), accumulate));
      plan(dh_product(dlogits, weight, dh, accumulate));
    }
  });
  return carver.bytes() + products;
}

}  // namespace plumb::cuda
