// What the passes of the head have in common: their products, the checks of their arguments, what a row adds
// to the loss.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/ops/head_loss.h"
#include "backends/cpu/arguments.h"
#include "backends/cpu/matmul.h"
#include "core/error.h"
#include "core/maximum.h"

namespace plumb::cpu {

inline constexpr std::int64_t kChunkLogits = std::int64_t{1} << 18;  // 1 MiB of fp32

/// Calls body(first, count) for the chunks of [0, total).
template <class Body>
void for_chunks(std::int64_t total, std::int64_t chunk, Body&& body) {
  for (std::int64_t first = 0; first < total; first += chunk) body(first, std::min(chunk, total - first));
}

/// (rows, vocabulary) view of logits whose rows are `stride` elements apart.
inline Tensor logits_view(void* data, DType dtype, std::int64_t stride, std::int64_t rows,
                          std::int64_t vocabulary) {
  Tensor view(data, dtype, Shape{rows, vocabulary});
  view.row_stride = stride;
  return view;
}

inline MatmulArguments logits_product(const Tensor& h, const Tensor& weight, const Tensor& logits,
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

inline MatmulArguments dh_product(const Tensor& dlogits, const Tensor& weight, const Tensor& dh,
                                  bool accumulate, const Workspace& workspace) {
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

inline MatmulArguments dweight_product(const Tensor& dlogits, const Tensor& h, const Tensor& dweight,
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

/// Throws Error for what neither pass takes: targets are on the host here, so they are looked at.
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

/// The arguments with the loss scale in their gradient scale, checked.
inline HeadLossBackward checked_backward(const char* op, const HeadLossBackward& unscaled) {
  HeadLossBackward arguments = unscaled;
  if (const double* loss_scale = optional_vector<double>(op, "loss_scale", unscaled.loss_scale, 1))
    arguments.gradient_scale *= *loss_scale;
  check_head(op, arguments);
  const Tensor &h = arguments.h, &weight = arguments.weight;
  require_rows(op, "dh", arguments.dh, h.dtype, h.rows(), h.cols());
  require_rows(op, "dweight", arguments.dweight, DType::Float32, weight.rows(), weight.cols());
  optional_vector<float>(op, "dbias", arguments.dbias, weight.rows());
  return arguments;
}

/// logits += bias
inline void add_to_row(float* logits, const float* bias, std::int64_t count) {
  for (std::int64_t v = 0; v < count; ++v) logits[v] += bias[v];
}

/// Adds a row of the loss to sums, HeadLossForward's.
inline void add_row(double log_z, double largest, double target_logit, double* sums) {
  sums[kHeadLossRows] += 1;
  sums[kHeadLossCrossEntropy] += log_z - target_logit;
  sums[kHeadLossLogZ] += log_z;
  sums[kHeadLossLogZSquared] += log_z * log_z;
  sums[kHeadLossMaxLogit] = maximum_or_nan(sums[kHeadLossMaxLogit], largest);
}

}  // namespace plumb::cpu
