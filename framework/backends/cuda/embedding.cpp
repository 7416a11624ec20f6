#include "backends/cuda/embedding.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

void check_positions(const char* op, const Tensor& table, std::int64_t tokens, std::int64_t cols) {
  PLUMB_CHECK(tokens >= 1, "{}: tokens is {}", op, tokens);
  PLUMB_CHECK(!table.defined() || table.rows() >= tokens, "{}: {} positions for {} tokens", op, table.rows(),
              tokens);
  optional_rows(op, "the position table", table, DType::Float32, table.rows(), cols);
}

EmbeddingScratch take_scratch(const EmbeddingBackward& arguments, WorkspaceCarver& carver) {
  const std::int64_t rows = arguments.dout.rows(), cols = arguments.dout.cols();
  const std::int64_t tiles = (rows + kEmbeddingTile - 1) / kEmbeddingTile;
  EmbeddingScratch scratch;
  scratch.order = carver.take<std::int32_t>(rows);
  scratch.cut_sums = carver.take<double>(2 * tiles * cols);
  return scratch;
}

}  // namespace

void CudaEmbedding::embedding_forward(Stream& stream, const EmbeddingForward& arguments) const {
  const char* op = "embedding_forward";
  const Tensor& out = arguments.out;
  const std::int64_t rows = out.rows(), cols = out.cols();
  require_compute(op, out.dtype);
  check_positions(op, arguments.position_table, arguments.tokens, cols);
  require_vector(op, "ids", arguments.ids, DType::Int32, rows);
  require_rows(op, "token_table", arguments.token_table, DType::Float32, arguments.token_table.rows(), cols);
  require_rows(op, "out", out, out.dtype, rows, cols);
  if (out.elements() > 0) launch_embedding_forward(handle_of(stream), arguments);
}

void CudaEmbedding::embedding_backward(Stream& stream, const EmbeddingBackward& arguments) const {
  const char* op = "embedding_backward";
  const Tensor& dout = arguments.dout;
  const std::int64_t rows = dout.rows(), cols = dout.cols();
  require_compute(op, dout.dtype);
  check_positions(op, arguments.dposition_table, arguments.tokens, cols);
  require_vector(op, "ids", arguments.ids, DType::Int32, rows);
  require_rows(op, "dtoken_table", arguments.dtoken_table, DType::Float32, arguments.dtoken_table.rows(),
               cols);
  require_rows(op, "dout", dout, dout.dtype, rows, cols);
  if (dout.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_embedding_backward(handle_of(stream), arguments, take_scratch(arguments, carver));
}

std::size_t CudaEmbedding::embedding_backward_workspace(const EmbeddingBackward& arguments) const {
  WorkspaceCarver carver;
  take_scratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cuda
