// Forward and backward of the head over rows with their whole vocabulary: logits are made once, and their
// gradients take their place.
#include <algorithm>
#include <cmath>

#include "backends/cpu/column_sums.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/head_products.h"
#include "backends/cpu/running_softmax.h"
#include "backends/cpu/widen.h"
#include "backends/cpu/workspace_carver.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

/// Fewest rows that are taken at once. The gradient of the weight is read and written once for so many rows:
/// with 256 that takes a tenth of the time of its product, at 100 GFLOP/s and 15 GB/s.
constexpr std::int64_t kJoinedRows = 256;

/// Depends on the shapes alone: the order of every sum is the same whatever the number of threads.
std::int64_t rows_at_once(std::int64_t rows, std::int64_t vocabulary) {
  return std::min(rows, std::max(kJoinedRows, kChunkLogits / vocabulary));
}

struct JoinedScratch {
  JoinedScratch(WorkspaceCarver& carver, const HeadLossForward& arguments)
      : rows(rows_at_once(arguments.h.rows(), arguments.weight.rows())),
        stride(round_up_to_lanes(arguments.weight.rows())),
        logits(carver.take<float>(rows * stride)),
        narrow_logits(arguments.h.dtype == DType::Float32 ? nullptr : carver.take<bfloat16>(rows * stride)),
        softmax(carver.take<RunningSoftmax>(rows)),
        target_logit(carver.take<float>(rows)) {}
  std::int64_t rows, stride;
  float* logits;
  bfloat16* narrow_logits;  ///< what products of bf16 read; null for fp32
  RunningSoftmax* softmax;
  float* target_logit;

  Tensor wide(std::int64_t count, std::int64_t vocabulary) const {
    return logits_view(logits, DType::Float32, stride, count, vocabulary);
  }
  /// The gradients of the logits, as products read them.
  Tensor gradients(DType dtype, std::int64_t count, std::int64_t vocabulary) const {
    return dtype == DType::Float32 ? wide(count, vocabulary)
                                   : logits_view(narrow_logits, dtype, stride, count, vocabulary);
  }
};

class JoinedRows {
 public:
  JoinedRows(const HeadLossForward& forward, const HeadLossBackward& backward, const Matmul& matmul,
             const JoinedScratch& scratch, const Workspace& rest)
      : forward_(forward), backward_(backward), matmul_(matmul), scratch_(scratch), rest_(rest) {}

  void run(std::int64_t first, std::int64_t rows) const {
    const Tensor h = forward_.h.row_range(first, rows);
    const std::int64_t vocabulary = forward_.weight.rows();
    matmul_.run(logits_product(h, forward_.weight, scratch_.wide(rows, vocabulary), rest_));
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / vocabulary);
    parallel_for(rows, grain, [&](std::int64_t r) { differentiate_row(first, r); });
    add_losses(first, rows);
    if (backward_.dbias.defined())
      add_column_sums(scratch_.logits, scratch_.stride, rows, vocabulary, backward_.dbias.as<float>());
    const Tensor gradients = scratch_.gradients(h.dtype, rows, vocabulary);
    matmul_.run(dh_product(gradients, forward_.weight, backward_.dh.row_range(first, rows), false, rest_));
    const bool accumulate = backward_.accumulate || first > 0;
    matmul_.run(dweight_product(gradients, h, backward_.dweight, accumulate, rest_));
  }

 private:
  std::int64_t target_of(std::int64_t row) const { return forward_.targets.as<std::int32_t>()[row]; }

  /// Logits of row first + r become their gradients. The exponentials that the softmax leaves, over its sum,
  /// are its probabilities.
  void differentiate_row(std::int64_t first, std::int64_t r) const {
    const std::int64_t vocabulary = forward_.weight.rows(), target = target_of(first + r);
    float* row = scratch_.logits + r * scratch_.stride;
    if (forward_.bias.defined()) add_to_row(row, forward_.bias.as<float>(), vocabulary);
    scratch_.target_logit[r] = target >= 0 ? row[target] : 0.0F;
    RunningSoftmax& softmax = scratch_.softmax[r] = {};
    softmax.absorb<false>(row, vocabulary, scratch_.stride);
    if (target < 0) {
      std::fill_n(row, vocabulary, 0.0F);
    } else {
      const double scale = backward_.gradient_scale, sum = softmax.sum;
      const double log_z = softmax.largest + std::log(sum);
      const auto factor = static_cast<float>(scale * (1 + 2 * backward_.z_loss * log_z) / sum);
      for (std::int64_t v = 0; v < vocabulary; ++v) row[v] *= factor;
      row[target] -= static_cast<float>(scale);
    }
    if (scratch_.narrow_logits != nullptr)
      narrow(row, scratch_.narrow_logits + r * scratch_.stride, vocabulary);
  }

  /// In the order of the rows.
  void add_losses(std::int64_t first, std::int64_t rows) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      const RunningSoftmax& softmax = scratch_.softmax[r];
      const double log_z = softmax.largest + std::log(static_cast<double>(softmax.sum));
      forward_.log_z.as<float>()[first + r] = static_cast<float>(log_z);
      if (target_of(first + r) < 0) continue;
      add_row(log_z, softmax.largest_or_nan(), scratch_.target_logit[r], forward_.sums.as<double>());
    }
  }

  const HeadLossForward& forward_;
  const HeadLossBackward& backward_;
  const Matmul& matmul_;
  const JoinedScratch& scratch_;
  Workspace rest_;
};

/// The slope of a soft cap needs the logits, which the softmax overwrites.
bool is_joined(const HeadLossBoth& arguments) { return !(arguments.forward.soft_cap > 0); }

}  // namespace

void CpuHeadLoss::head_loss_both(Stream& stream, const HeadLossBoth& arguments) const {
  if (!is_joined(arguments)) return HeadLossOps::head_loss_both(stream, arguments);
  const char* op = "head_loss_both";
  const HeadLossForward& forward = arguments.forward;
  check_head(op, forward);
  vector_of<double>(op, "sums", forward.sums, kHeadLossSums);
  const HeadLossBackward backward = checked_backward(op, arguments.backward);
  WorkspaceCarver carver(backward.workspace);
  const JoinedScratch scratch(carver, forward);
  const JoinedRows joined(forward, backward, matmul_, scratch, carver.rest());
  for_chunks(forward.h.rows(), scratch.rows,
             [&](std::int64_t first, std::int64_t rows) { joined.run(first, rows); });
}

std::size_t CpuHeadLoss::head_loss_both_workspace(const HeadLossBoth& arguments) const {
  if (!is_joined(arguments)) return HeadLossOps::head_loss_both_workspace(arguments);
  const HeadLossForward& forward = arguments.forward;
  const HeadLossBackward& backward = arguments.backward;
  const std::int64_t vocabulary = forward.weight.rows();
  WorkspaceCarver carver;
  const JoinedScratch scratch(carver, forward);
  std::size_t products = 0;
  for (const std::int64_t rows : {scratch.rows, forward.h.rows() % scratch.rows}) {
    if (rows == 0) continue;
    const Tensor h = forward.h.row_range(0, rows);
    const Tensor gradients = scratch.gradients(h.dtype, rows, vocabulary);
    products = std::max(
        {products, matmul_.workspace(logits_product(h, forward.weight, scratch.wide(rows, vocabulary), {})),
         matmul_.workspace(dh_product(gradients, forward.weight, backward.dh.row_range(0, rows), false, {})),
         matmul_.workspace(dweight_product(gradients, h, backward.dweight, false, {})),
         matmul_.workspace(dweight_product(gradients, h, backward.dweight, true, {}))});
  }
  return carver.bytes() + products;
}

}  // namespace plumb::cpu
