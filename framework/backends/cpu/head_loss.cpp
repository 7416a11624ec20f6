// Logits exist in chunks of at most kChunkLogits, computed again in the backward pass.
#include <algorithm>
#include <cmath>

#include "backends/cpu/arguments.h"
#include "backends/cpu/column_sums.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/matmul.h"
#include "backends/cpu/running_softmax.h"
#include "backends/cpu/widen.h"
#include "backends/cpu/workspace_carver.h"
#include "core/error.h"
#include "core/maximum.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

constexpr std::int64_t kChunkLogits = std::int64_t{1} << 18;  // 1 MiB of fp32
constexpr std::int64_t kChunkRows = 512;

/// Near-square chunks, so that neither h nor the weight is read much more often than the other. It depends on
/// the shapes alone: the order of every sum is the same whatever the number of threads.
struct Chunks {
  Chunks(const Tensor& h, const Tensor& weight)
      : total_rows(h.rows()), total_vocabulary(weight.rows()), width(h.cols()) {
    PLUMB_CHECK(total_rows > 0 && total_vocabulary > 0, "head_loss: {} rows, vocabulary of {}", total_rows,
                total_vocabulary);
    const std::int64_t fewest_rows = std::min(total_rows, kChunkRows);
    vocabulary = std::min(total_vocabulary, kChunkLogits / fewest_rows / kLanes * kLanes);
    rows = std::min(total_rows, kChunkLogits / vocabulary);
    stride = round_up_to_lanes(vocabulary);
  }
  std::int64_t total_rows, total_vocabulary, width;
  std::int64_t rows, vocabulary, stride;  ///< of one chunk, the last ones may be smaller
  bool whole_vocabulary() const { return vocabulary == total_vocabulary; }
};

/// Calls body(first, count) for the chunks of [0, total).
template <class Body>
void for_chunks(std::int64_t total, std::int64_t chunk, Body&& body) {
  for (std::int64_t first = 0; first < total; first += chunk) body(first, std::min(chunk, total - first));
}

/// Calls body(rows, vocabulary) once for each size that chunks have.
template <class Body>
void for_chunk_sizes(const Chunks& chunks, Body&& body) {
  for (const std::int64_t rows : {chunks.rows, chunks.total_rows % chunks.rows}) {
    for (const std::int64_t vocabulary : {chunks.vocabulary, chunks.total_vocabulary % chunks.vocabulary}) {
      if (rows > 0 && vocabulary > 0) body(rows, vocabulary);
    }
  }
}

/// (rows, vocabulary) view of chunk memory.
Tensor chunk_view(void* data, DType dtype, const Chunks& chunks, std::int64_t rows, std::int64_t vocabulary) {
  Tensor view(data, dtype, Shape{rows, vocabulary});
  view.row_stride = chunks.stride;
  return view;
}

MatmulArguments logits_product(const Tensor& h, const Tensor& weight, const Tensor& logits,
                               const Workspace& workspace) {
  return {.op = "head_loss logits",
          .a = h,
          .transpose_a = false,
          .b = weight,
          .transpose_b = true,
          .c = logits,
          .bias = {},
          .accumulate = false,
          .workspace = workspace};
}

MatmulArguments dh_product(const Tensor& dlogits, const Tensor& weight, const Tensor& dh, bool accumulate,
                           const Workspace& workspace) {
  return {.op = "head_loss dh",
          .a = dlogits,
          .transpose_a = false,
          .b = weight,
          .transpose_b = false,
          .c = dh,
          .bias = {},
          .accumulate = accumulate,
          .workspace = workspace};
}

MatmulArguments dweight_product(const Tensor& dlogits, const Tensor& h, const Tensor& dweight,
                                bool accumulate, const Workspace& workspace) {
  return {.op = "head_loss dweight",
          .a = dlogits,
          .transpose_a = true,
          .b = h,
          .transpose_b = false,
          .c = dweight,
          .bias = {},
          .accumulate = accumulate,
          .workspace = workspace};
}

template <class Arguments>
void check_head(const char* op, const Arguments& arguments) {
  const Tensor &h = arguments.h, &weight = arguments.weight;
  if (h.dtype != DType::Float32 && h.dtype != DType::BFloat16) fail_dtype(op, h.dtype);
  require_rows(op, "h", h, h.dtype, h.rows(), h.cols());
  require_rows(op, "weight", weight, h.dtype, weight.rows(), h.cols());
  optional_vector<float>(op, "bias", arguments.bias, weight.rows());
  vector_of<float>(op, "log_z", arguments.log_z, h.rows());
  const auto* targets = vector_of<std::int32_t>(op, "targets", arguments.targets, h.rows());
  for (std::int64_t r = 0; r < h.rows(); ++r) {
    PLUMB_CHECK(targets[r] >= -1 && targets[r] < weight.rows(),
                "{}: target {} at row {} is neither -1 nor in [0, {})", op, targets[r], r, weight.rows());
  }
}

std::int64_t chunk_row_grain(const Chunks& chunks) {
  return std::max<std::int64_t>(1, 16384 / chunks.vocabulary);
}

void add_bias(float* logits, const float* bias, std::int64_t count) {
  for (std::int64_t v = 0; v < count; ++v) logits[v] += bias[v];
}

struct ForwardScratch {
  ForwardScratch(WorkspaceCarver& carver, const Chunks& chunks)
      : logits(carver.take<float>(chunks.rows * chunks.stride)),
        softmax(carver.take<RunningSoftmax>(chunks.rows)),
        target_logit(carver.take<float>(chunks.rows)) {}
  float* logits;
  RunningSoftmax* softmax;
  float* target_logit;
};

/// What one chunk of the vocabulary adds to the softmax of one row.
void absorb_chunk(const HeadLossForward& arguments, float* logits, std::int64_t first, std::int64_t count,
                  std::int64_t target, RunningSoftmax& softmax, float& target_logit) {
  if (arguments.bias.defined()) add_bias(logits, arguments.bias.as<float>() + first, count);
  if (arguments.soft_cap > 0) apply_soft_cap(logits, count, arguments.soft_cap);
  if (target >= first && target < first + count) target_logit = logits[target - first];
  softmax.absorb<false>(logits, count, round_up_to_lanes(count));
}

void add_row(double log_z, double largest, double target_logit, double* sums) {
  sums[kHeadLossRows] += 1;
  sums[kHeadLossCrossEntropy] += log_z - target_logit;
  sums[kHeadLossLogZ] += log_z;
  sums[kHeadLossLogZSquared] += log_z * log_z;
  sums[kHeadLossMaxLogit] = maximum_or_nan(sums[kHeadLossMaxLogit], largest);
}

void forward_rows(const HeadLossForward& arguments, const Matmul& matmul, const Chunks& chunks,
                  const ForwardScratch& scratch, const Workspace& rest, std::int64_t first_row,
                  std::int64_t rows) {
  const auto* targets = arguments.targets.as<std::int32_t>() + first_row;
  std::fill_n(scratch.softmax, rows, RunningSoftmax{});
  for_chunks(chunks.total_vocabulary, chunks.vocabulary, [&](std::int64_t first, std::int64_t count) {
    matmul.run(logits_product(arguments.h.row_range(first_row, rows),
                              arguments.weight.row_range(first, count),
                              chunk_view(scratch.logits, DType::Float32, chunks, rows, count), rest));
    parallel_for(rows, chunk_row_grain(chunks), [&](std::int64_t r) {
      absorb_chunk(arguments, scratch.logits + r * chunks.stride, first, count, targets[r],
                   scratch.softmax[r], scratch.target_logit[r]);
    });
  });
  auto* log_z = arguments.log_z.as<float>() + first_row;
  for (std::int64_t r = 0; r < rows; ++r) {
    const double row_log_z =
        scratch.softmax[r].largest + std::log(static_cast<double>(scratch.softmax[r].sum));
    log_z[r] = static_cast<float>(row_log_z);
    if (targets[r] >= 0) {
      add_row(row_log_z, scratch.softmax[r].largest_or_nan(), scratch.target_logit[r],
              arguments.sums.as<double>());
    }
  }
}

struct BackwardScratch {
  BackwardScratch(WorkspaceCarver& carver, const Chunks& chunks, DType dtype)
      : dlogits(carver.take<float>(chunks.rows * chunks.stride)) {
    if (dtype == DType::Float32) return;
    narrow_dlogits = carver.take<bfloat16>(chunks.rows * chunks.stride);
    if (!chunks.whole_vocabulary()) dh = carver.take<float>(chunks.rows * chunks.width);
  }
  float* dlogits;
  bfloat16* narrow_dlogits = nullptr;  ///< what products of bf16 read
  float* dh = nullptr;                 ///< bf16: sum over chunks of the vocabulary, rounded once
};

/// Turns the logits of one row (before bias and soft cap) into their gradient.
void differentiate_row(const HeadLossBackward& arguments, float* logits, std::int64_t first,
                       std::int64_t count, std::int64_t target, float log_z) {
  if (target < 0) {
    std::fill_n(logits, count, 0.0F);
    return;
  }
  if (arguments.bias.defined()) add_bias(logits, arguments.bias.as<float>() + first, count);
  if (arguments.soft_cap > 0) apply_soft_cap(logits, count, arguments.soft_cap);
  const bool has_target = target >= first && target < first + count;
  const auto scale = static_cast<float>(arguments.gradient_scale);
  const auto factor = static_cast<float>(arguments.gradient_scale * (1 + 2 * arguments.z_loss * log_z));
  float target_gradient = scale;
  if (arguments.soft_cap > 0) {
    const auto inverse = static_cast<float>(1 / arguments.soft_cap);
    const auto slope = [inverse](float capped) { return 1.0F - capped * inverse * (capped * inverse); };
    if (has_target) target_gradient *= slope(logits[target - first]);
    for (std::int64_t v = 0; v < count; ++v) {
      logits[v] = factor * vector_exp_or_zero(logits[v] - log_z) * slope(logits[v]);
    }
  } else {
    for (std::int64_t v = 0; v < count; ++v) logits[v] = factor * vector_exp_or_zero(logits[v] - log_z);
  }
  if (has_target) logits[target - first] -= target_gradient;
}

class BackwardRows {
 public:
  BackwardRows(const HeadLossBackward& arguments, const Matmul& matmul, const Chunks& chunks,
               const BackwardScratch& scratch, const Workspace& rest)
      : arguments_(arguments), matmul_(matmul), chunks_(chunks), scratch_(scratch), rest_(rest) {}

  void run(std::int64_t first_row, std::int64_t rows) const {
    const Tensor h = arguments_.h.row_range(first_row, rows);
    const Tensor dh = arguments_.dh.row_range(first_row, rows);
    const Tensor dh_sum =
        scratch_.dh != nullptr ? Tensor(scratch_.dh, DType::Float32, Shape{rows, chunks_.width}) : dh;
    for_chunks(chunks_.total_vocabulary, chunks_.vocabulary, [&](std::int64_t first, std::int64_t count) {
      const Tensor weight = arguments_.weight.row_range(first, count);
      const Tensor dlogits = differentiate(h, weight, first_row, first);
      matmul_.run(dh_product(dlogits, weight, dh_sum, first > 0, rest_));
      const bool accumulate = arguments_.accumulate || first_row > 0;
      matmul_.run(dweight_product(dlogits, h, arguments_.dweight.row_range(first, count), accumulate, rest_));
    });
    if (scratch_.dh == nullptr) return;
    auto* out = dh.as<bfloat16>();
    parallel_for(rows, std::max<std::int64_t>(1, 16384 / chunks_.width), [&](std::int64_t r) {
      narrow(scratch_.dh + r * chunks_.width, out + r * dh.row_stride, chunks_.width);
    });
  }

 private:
  /// Gradient of a chunk of logits in the compute dtype; adds to dbias before it is rounded.
  Tensor differentiate(const Tensor& h, const Tensor& weight, std::int64_t first_row,
                       std::int64_t first) const {
    const std::int64_t rows = h.rows(), count = weight.rows();
    const Tensor wide = chunk_view(scratch_.dlogits, DType::Float32, chunks_, rows, count);
    matmul_.run(logits_product(h, weight, wide, rest_));
    const auto* targets = arguments_.targets.as<std::int32_t>() + first_row;
    const auto* log_z = arguments_.log_z.as<float>() + first_row;
    parallel_for(rows, chunk_row_grain(chunks_), [&](std::int64_t r) {
      float* row = scratch_.dlogits + r * chunks_.stride;
      differentiate_row(arguments_, row, first, count, targets[r], log_z[r]);
      if (scratch_.narrow_dlogits != nullptr)
        narrow(row, scratch_.narrow_dlogits + r * chunks_.stride, count);
    });
    if (arguments_.dbias.defined()) {
      add_column_sums(scratch_.dlogits, chunks_.stride, rows, count, arguments_.dbias.as<float>() + first);
    }
    if (scratch_.narrow_dlogits == nullptr) return wide;
    return chunk_view(scratch_.narrow_dlogits, DType::BFloat16, chunks_, rows, count);
  }

  const HeadLossBackward& arguments_;
  const Matmul& matmul_;
  const Chunks& chunks_;
  const BackwardScratch& scratch_;
  Workspace rest_;
};

}  // namespace

void CpuHeadLoss::head_loss_forward(Stream& /*stream*/, const HeadLossForward& arguments) const {
  check_head("head_loss_forward", arguments);
  vector_of<double>("head_loss_forward", "sums", arguments.sums, kHeadLossSums);
  const Chunks chunks(arguments.h, arguments.weight);
  WorkspaceCarver carver(arguments.workspace);
  const ForwardScratch scratch(carver, chunks);
  for_chunks(chunks.total_rows, chunks.rows, [&](std::int64_t first, std::int64_t rows) {
    forward_rows(arguments, matmul_, chunks, scratch, carver.rest(), first, rows);
  });
}

void CpuHeadLoss::head_loss_backward(Stream& /*stream*/, const HeadLossBackward& unscaled) const {
  const char* op = "head_loss_backward";
  HeadLossBackward arguments = unscaled;
  if (const double* loss_scale = optional_vector<double>(op, "loss_scale", unscaled.loss_scale, 1))
    arguments.gradient_scale *= *loss_scale;
  check_head(op, arguments);
  const Tensor &h = arguments.h, &weight = arguments.weight;
  require_rows(op, "dh", arguments.dh, h.dtype, h.rows(), h.cols());
  require_rows(op, "dweight", arguments.dweight, DType::Float32, weight.rows(), weight.cols());
  optional_vector<float>(op, "dbias", arguments.dbias, weight.rows());
  const Chunks chunks(arguments.h, arguments.weight);
  WorkspaceCarver carver(arguments.workspace);
  const BackwardScratch scratch(carver, chunks, arguments.h.dtype);
  const BackwardRows backward(arguments, matmul_, chunks, scratch, carver.rest());
  for_chunks(chunks.total_rows, chunks.rows,
             [&](std::int64_t first, std::int64_t rows) { backward.run(first, rows); });
}

std::size_t CpuHeadLoss::head_loss_forward_workspace(const HeadLossForward& arguments) const {
  const Chunks chunks(arguments.h, arguments.weight);
  WorkspaceCarver carver;
  ForwardScratch(carver, chunks);
  std::size_t products = 0;
  for_chunk_sizes(chunks, [&](std::int64_t rows, std::int64_t vocabulary) {
    const auto product =
        logits_product(arguments.h.row_range(0, rows), arguments.weight.row_range(0, vocabulary),
                       chunk_view(nullptr, DType::Float32, chunks, rows, vocabulary), {});
    products = std::max(products, matmul_.workspace(product));
  });
  return carver.bytes() + products;
}

std::size_t CpuHeadLoss::head_loss_backward_workspace(const HeadLossBackward& arguments) const {
  const Chunks chunks(arguments.h, arguments.weight);
  const DType dtype = arguments.h.dtype;
  WorkspaceCarver carver;
  BackwardScratch(carver, chunks, dtype);
  std::size_t products = 0;
  for_chunk_sizes(chunks, [&](std::int64_t rows, std::int64_t vocabulary) {
    const Tensor h = arguments.h.row_range(0, rows), weight = arguments.weight.row_range(0, vocabulary);
    const Tensor logits = chunk_view(nullptr, DType::Float32, chunks, rows, vocabulary);
    const Tensor dlogits = chunk_view(nullptr, dtype, chunks, rows, vocabulary);
    const Tensor dh = chunks.whole_vocabulary() ? arguments.dh.row_range(0, rows)
                                                : Tensor(nullptr, DType::Float32, Shape{rows, chunks.width});
    const Tensor dweight = arguments.dweight.row_range(0, vocabulary);
    products = std::max({products, matmul_.workspace(logits_product(h, weight, logits, {})),
                         matmul_.workspace(dh_product(dlogits, weight, dh, false, {})),
                         matmul_.workspace(dweight_product(dlogits, h, dweight, false, {})),
                         matmul_.workspace(dweight_product(dlogits, h, dweight, true, {}))});
    if (chunks.whole_vocabulary()) return;
    products = std::max(products, matmul_.workspace(dh_product(dlogits, weight, dh, true, {})));
  });
  return carver.bytes() + products;
}

}  // namespace plumb::cpu
