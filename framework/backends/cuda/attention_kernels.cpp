#include "backends/cuda/attention_kernels.h"

#include <initializer_list>
#include <limits>

#include "backends/cuda/arguments.h"
#include "backends/cuda/attention.h"

namespace plumb::cuda {
namespace {

constexpr std::int64_t kWidestHead = 256;

struct NamedTensor {
  const char* name;
  const Tensor& tensor;
};

std::int64_t most_query_tiles(const AttentionShape& shape) {
  return (shape.tokens + kSmallestQueryTile - 1) / kSmallestQueryTile;
}

/// Throws Error unless all are (B*T, H*D) rows of one compute dtype.
void check_attention(const char* op, const AttentionShape& shape, std::initializer_list<NamedTensor> rows,
                     const Tensor& log_sum_exp) {
  PLUMB_CHECK(shape.batch >= 1 && shape.tokens >= 1 && shape.heads >= 1 && shape.width >= 1,
              "{}: batch {}, tokens {}, heads {}, width {} must be positive", op, shape.batch, shape.tokens,
              shape.heads, shape.width);
  PLUMB_CHECK(shape.width <= kWidestHead, "{}: heads are {} wide; the CUDA backend has kernels up to {}", op,
              shape.width, kWidestHead);
  PLUMB_CHECK(shape.dropout >= 0 && shape.dropout < 1, "{}: dropout is {}, not in [0, 1)", op, shape.dropout);
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  PLUMB_CHECK(shape.tokens <= kMost / 2 && shape.batch * shape.heads <= kMost / most_query_tiles(shape),
              "{}: batch {}, heads {}, tokens {} are more than one launch has blocks for", op, shape.batch,
              shape.heads, shape.tokens);
  const DType dtype = rows.begin()->tensor.dtype;
  require_compute(op, dtype);
  for (const auto& [name, tensor] : rows)
    require_rows(op, name, tensor, dtype, shape.batch * shape.tokens, shape.heads * shape.width);
  require_vector(op, "log_sum_exp", log_sum_exp, DType::Float32, shape.batch * shape.heads * shape.tokens);
}

void check_dropout(const char* op, const AttentionShape& shape) {
  if (shape.dropout > 0) require_vector(op, "counters", shape.site.counters, DType::Int64, 2);
}

std::int64_t rows_of(const AttentionShape& shape) { return shape.batch * shape.heads * shape.tokens; }

/// One for each block of a kernel; null when it is not wanted.
template <class T>
T* take_partials(WorkspaceCarver& carver, const Tensor& wanted, const AttentionShape& shape) {
  return wanted.defined() ? carver.take<T>(shape.batch * shape.heads * most_query_tiles(shape)) : nullptr;
}

AttentionPartials take_partials(WorkspaceCarver& carver, const AttentionForward& arguments) {
  AttentionPartials partials;
  partials.largest = take_partials<float>(carver, arguments.max_logit, arguments.shape);
  partials.entropy = take_partials<double>(carver, arguments.entropy_sums, arguments.shape);
  return partials;
}

}  // namespace

void attention_forward_by_kernels(cudaStream_t stream, const AttentionForward& arguments) {
  const char* op = "attention_forward";
  const AttentionShape& shape = arguments.shape;
  check_attention(op, shape,
                  {{"q", arguments.q}, {"k", arguments.k}, {"v", arguments.v}, {"out", arguments.out}},
                  arguments.log_sum_exp);
  check_dropout(op, shape);
  optional_vector(op, "max_logit", arguments.max_logit, DType::Float64, 1);
  WorkspaceCarver carver(arguments.workspace);
  auto* largest = take_partials<float>(carver, arguments.max_logit, shape);
  const auto launch_instance = arguments.q.dtype == DType::Float32 ? launch_attention_forward_fp32
                               : shape.width <= 64                 ? launch_attention_forward_64
                               : shape.width <= 128                ? launch_attention_forward_128
                                                                   : launch_attention_forward_256;
  const int blocks = launch_instance(stream, arguments, largest);
  if (largest != nullptr)
    launch_attention_maximum(stream, largest, blocks, static_cast<double*>(arguments.max_logit.data));
}

std::size_t kernels_forward_workspace(const AttentionForward& arguments) {
  WorkspaceCarver carver;
  take_partials<float>(carver, arguments.max_logit, arguments.shape);
  return carver.bytes();
}

void attention_backward_by_kernels(cudaStream_t stream, const AttentionBackward& arguments) {
  const char* op = "attention_backward";
  const AttentionShape& shape = arguments.shape;
  check_attention(op, shape,
                  {{"q", arguments.q},
                   {"k", arguments.k},
                   {"v", arguments.v},
                   {"out", arguments.out},
                   {"dout", arguments.dout},
                   {"dq", arguments.dq},
                   {"dk", arguments.dk},
                   {"dv", arguments.dv}},
                  arguments.log_sum_exp);
  check_dropout(op, shape);
  WorkspaceCarver carver(arguments.workspace);
  auto* expected = carver.take<float>(rows_of(shape));
  launch_attention_expected(stream, arguments, expected);
  const auto launch_instance = arguments.q.dtype == DType::Float32 ? launch_attention_backward_fp32
                               : shape.width <= 64                 ? launch_attention_backward_64
                               : shape.width <= 128                ? launch_attention_backward_128
                                                                   : launch_attention_backward_256;
  launch_instance(stream, arguments, expected);
}

std::size_t kernels_backward_workspace(const AttentionBackward& arguments) {
  WorkspaceCarver carver;
  carver.take<float>(rows_of(arguments.shape));
  return carver.bytes();
}

void attention_statistics_by_kernels(cudaStream_t stream, const AttentionForward& arguments) {
  if (!arguments.max_logit.defined() && !arguments.entropy_sums.defined()) return;
  const char* op = "attention_forward";
  const AttentionShape& shape = arguments.shape;
  check_attention(op, shape, {{"q", arguments.q}, {"k", arguments.k}}, arguments.log_sum_exp);
  optional_vector(op, "max_logit", arguments.max_logit, DType::Float64, 1);
  optional_vector(op, "entropy_sums", arguments.entropy_sums, DType::Float64, shape.heads);
  WorkspaceCarver carver(arguments.workspace);
  const AttentionPartials partials = take_partials(carver, arguments);
  const int tiles = launch_attention_statistics(stream, arguments, partials);
  if (partials.largest != nullptr) {
    launch_attention_maximum(stream, partials.largest, shape.batch * shape.heads * tiles,
                             static_cast<double*>(arguments.max_logit.data));
  }
  if (partials.entropy != nullptr) {
    launch_attention_entropy(stream, partials.entropy, shape, tiles,
                             static_cast<double*>(arguments.entropy_sums.data));
  }
}

std::size_t kernels_statistics_workspace(const AttentionForward& arguments) {
  WorkspaceCarver carver;
  take_partials(carver, arguments);
  return carver.bytes();
}

}  // namespace plumb::cuda
