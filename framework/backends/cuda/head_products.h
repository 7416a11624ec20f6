// The matrix products of the head, and the checks of its arguments.
#pragma once

#include "backends/cuda/arguments.h"
#include "backends/cuda/head_loss.h"
#include "backends/cuda/matrix_product.h"
#include "core/error.h"

namespace plumb::cuda {

inline std::int64_t padded_logits(std::int64_t entries) {
  return (entries + kLogitPack - 1) / kLogitPack * kLogitPack;
}

/// (rows, entries) view of chunk memory.
inline Tensor chunk_view(void* data, DType dtype, std::int64_t rows, std::int64_t entries,
                         std::int64_t stride) {
  Tensor view(data, dtype, Shape{rows, entries});
  view.row_stride = stride;
  return view;
}

inline MatrixProduct logits_product(const Tensor& h, const Tensor& weight, const Tensor& logits) {
  return {.op = "head_loss logits", .a = h, .b = weight, .transpose_b = true, .c = logits};
}

inline MatrixProduct dh_product(const Tensor& dlogits, const Tensor& weight, const Tensor& dh,
                                bool accumulate) {
  return {.op = "head_loss dh", .a = dlogits, .b = weight, .c = dh, .accumulate = accumulate};
}

inline MatrixProduct dweight_product(const Tensor& dlogits, const Tensor& h, const Tensor& dweight,
                                     bool accumulate) {
  return {.op = "head_loss dweight",
          .a = dlogits,
          .transpose_a = true,
          .b = h,
          .c = dweight,
          .accumulate = accumulate};
}

template <class Arguments>
void check_head(const char* op, const Arguments& arguments) {
  const Tensor &h = arguments.h, &weight = arguments.weight;
  require_compute(op, h.dtype);
  require_rows(op, "h", h, h.dtype, h.rows(), h.cols());
  require_rows(op, "weight", weight, h.dtype, weight.rows(), h.cols());
  optional_vector(op, "bias", arguments.bias, DType::Float32, weight.rows());
  require_vector(op, "log_z", arguments.log_z, DType::Float32, h.rows());
  require_vector(op, "targets", arguments.targets, DType::Int32, h.rows());
  PLUMB_CHECK(h.elements() > 0 && weight.elements() > 0, "{}: h is {}, weight is {}", op, to_string(h.shape),
              to_string(weight.shape));
}

inline void check_forward(const char* op, const HeadLossForward& arguments) {
  check_head(op, arguments);
  require_vector(op, "sums", arguments.sums, DType::Float64, kHeadLossSums);
}

inline void check_backward(const char* op, const HeadLossBackward& arguments) {
  check_head(op, arguments);
  const Tensor &h = arguments.h, &weight = arguments.weight;
  optional_vector(op, "loss_scale", arguments.loss_scale, DType::Float64, 1);
  require_rows(op, "dh", arguments.dh, h.dtype, h.rows(), h.cols());
  require_rows(op, "dweight", arguments.dweight, DType::Float32, weight.rows(), weight.cols());
  optional_vector(op, "dbias", arguments.dbias, DType::Float32, weight.rows());
}

}  // namespace plumb::cuda
