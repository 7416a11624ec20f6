#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"
#include "core/maximum.h"

namespace plumb::reference {
namespace {

/// The inputs of both passes, checked, and the logits of one row.
template <class T>
struct Head {
  std::int64_t rows, width, vocabulary;
  double soft_cap;
  Rows<T> h, weight;
  Vector<T> bias;
  Vector<std::int32_t> targets;

  template <class Arguments>
  Head(const char* op, const Arguments& arguments)
      : rows(arguments.h.rows()),
        width(arguments.h.cols()),
        vocabulary(arguments.weight.rows()),
        soft_cap(arguments.soft_cap),
        h(op, "h", arguments.h, rows, width),
        weight(op, "weight", arguments.weight, vocabulary, width),
        bias(Vector<T>::optional(op, "bias", arguments.bias, vocabulary)),
        targets(op, "targets", arguments.targets, rows) {
    for (std::int64_t r = 0; r < rows; ++r)
      PLUMB_CHECK(targets[r] >= -1 && targets[r] < vocabulary,
                  "{}: target {} at row {} is neither -1 nor in [0, {})", op, targets[r], r, vocabulary);
  }

  double logit(std::int64_t r, std::int64_t v) const {
    double sum = bias ? bias[v] : 0.0;
    for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(h[r][i]) * weight[v][i];
    return soft_cap > 0 ? soft_cap * std::tanh(sum / soft_cap) : sum;
  }
};

template <class T>
void forward(const HeadLossForward& arguments, std::size_t workspace_bytes) {
  const char* op = "head_loss_forward";
  const Head<T> head(op, arguments);
  const Vector<T> log_z(op, "log_z", arguments.log_z, head.rows);
  const Vector<double> sums(op, "sums", arguments.sums, kHeadLossSums);
  double* logits = Scratch(op, arguments.workspace, workspace_bytes).take(head.vocabulary);
  for (std::int64_t r = 0; r < head.rows; ++r) {
    double largest = -std::numeric_limits<double>::infinity();
    for (std::int64_t v = 0; v < head.vocabulary; ++v) {
      logits[v] = head.logit(r, v);
      largest = std::max(largest, logits[v]);
    }
    double sum = 0;
    for (std::int64_t v = 0; v < head.vocabulary; ++v) sum += std::exp(logits[v] - largest);
    const double row_log_z = largest + std::log(sum);
    log_z[r] = static_cast<T>(row_log_z);
    if (head.targets[r] < 0) continue;
    sums[kHeadLossRows] += 1;
    sums[kHeadLossCrossEntropy] += row_log_z - logits[head.targets[r]];
    sums[kHeadLossLogZ] += row_log_z;
    sums[kHeadLossLogZSquared] += row_log_z * row_log_z;
    sums[kHeadLossMaxLogit] =
        maximum_or_nan(sums[kHeadLossMaxLogit], std::isnan(row_log_z) ? row_log_z : largest);
  }
}

template <class T>
void backward(const HeadLossBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "head_loss_backward";
  const Head<T> head(op, arguments);
  const std::int64_t width = head.width, vocabulary = head.vocabulary;
  const Vector<T> log_z(op, "log_z", arguments.log_z, head.rows);
  const Rows<T> dh(op, "dh", arguments.dh, head.rows, width);
  const Vector<T> dweight(op, "dweight", arguments.dweight, vocabulary * width);
  const auto dbias = Vector<T>::optional(op, "dbias", arguments.dbias, vocabulary);
  const auto loss_scale = Vector<double>::optional(op, "loss_scale", arguments.loss_scale, 1);
  const double gradient_scale = arguments.gradient_scale * (loss_scale ? loss_scale[0] : 1);
  Scratch scratch(op, arguments.workspace, workspace_bytes);
  double *dh_row = scratch.take(width), *dbias_sums = scratch.take(vocabulary);
  double* dweight_sums = scratch.take(vocabulary * width);

  for (std::int64_t r = 0; r < head.rows; ++r) {
    std::fill_n(dh_row, width, 0.0);
    for (std::int64_t v = 0; head.targets[r] >= 0 && v < vocabulary; ++v) {
      const double logit = head.logit(r, v), probability = std::exp(logit - log_z[r]);
      double dlogit = probability * (1 + 2 * arguments.z_loss * log_z[r]) - (v == head.targets[r] ? 1 : 0);
      dlogit *= gradient_scale;
      if (head.soft_cap > 0) dlogit *= 1 - std::pow(logit / head.soft_cap, 2);
      dbias_sums[v] += dlogit;
      for (std::int64_t i = 0; i < width; ++i) {
        dh_row[i] += dlogit * head.weight[v][i];
        dweight_sums[v * width + i] += dlogit * head.h[r][i];
      }
    }
    for (std::int64_t i = 0; i < width; ++i) dh[r][i] = static_cast<T>(dh_row[i]);
  }
  if (!arguments.accumulate) dweight.clear();
  dweight.add(dweight_sums);
  if (dbias) dbias.add(dbias_sums);
}

}  // namespace

void ReferenceHeadLoss::head_loss_forward(Stream&, const HeadLossForward& arguments) const {
  with_scalar("head_loss_forward", arguments.h.dtype, [&](auto scalar) {
    forward<decltype(scalar)>(arguments, head_loss_forward_workspace(arguments));
  });
}

void ReferenceHeadLoss::head_loss_backward(Stream&, const HeadLossBackward& arguments) const {
  with_scalar("head_loss_backward", arguments.h.dtype, [&](auto scalar) {
    backward<decltype(scalar)>(arguments, head_loss_backward_workspace(arguments));
  });
}

std::size_t ReferenceHeadLoss::head_loss_forward_workspace(const HeadLossForward& arguments) const {
  return scratch_bytes(arguments.weight.rows());
}

std::size_t ReferenceHeadLoss::head_loss_backward_workspace(const HeadLossBackward& arguments) const {
  return scratch_bytes(arguments.h.cols() + arguments.weight.rows() + arguments.weight.elements());
}

}  // namespace plumb::reference
