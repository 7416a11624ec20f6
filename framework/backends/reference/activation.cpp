#include <cmath>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

constexpr double kPi = 3.14159265358979323846;

struct ValueAndSlope {
  double value, slope;
};

ValueAndSlope gelu(double t) {
  const double distribution = 0.5 * (1 + std::erf(t / std::sqrt(2.0)));
  const double density = std::exp(-0.5 * t * t) / std::sqrt(2 * kPi);
  return {t * distribution, distribution + t * density};
}

ValueAndSlope gelu_tanh(double t) {
  const double factor = std::sqrt(2 / kPi);
  const double tanh = std::tanh(factor * (t + 0.044715 * t * t * t));
  const double inner_slope = factor * (1 + 3 * 0.044715 * t * t);
  return {0.5 * t * (1 + tanh), 0.5 * (1 + tanh) + 0.5 * t * (1 - tanh * tanh) * inner_slope};
}

ValueAndSlope silu(double t) {
  const double sigmoid = 1 / (1 + std::exp(-t));
  return {t * sigmoid, sigmoid * (1 + t * (1 - sigmoid))};
}

/// The plain function, or the one that acts on the gate.
ValueAndSlope evaluate(ActivationKind kind, double t) {
  switch (kind) {
    case ActivationKind::Gelu:
    case ActivationKind::GeGlu:
      return gelu(t);
    case ActivationKind::GeluTanh:
      return gelu_tanh(t);
    case ActivationKind::Relu:
      return {t > 0 ? t : 0, t > 0 ? 1.0 : 0.0};
    case ActivationKind::ReluSquared:
      return {t > 0 ? t * t : 0, t > 0 ? 2 * t : 0};
    case ActivationKind::Silu:
    case ActivationKind::SwiGlu:
      return silu(t);
  }
  fail("unknown activation {}", static_cast<int>(kind));
}

template <class T>
void forward(const ActivationForward& arguments) {
  const char* op = "activation_forward";
  const bool gated = is_gated(arguments.kind);
  const std::int64_t rows = arguments.h.rows(), width = arguments.h.cols();
  const std::int64_t inputs = gated ? 2 * width : width;
  const Rows<T> pre(op, "pre", arguments.pre, rows, inputs);
  const auto bias = Vector<T>::optional(op, "bias", arguments.bias, inputs);
  const Rows<T> h(op, "h", arguments.h, rows, width);
  const auto biased = [&](std::int64_t r, std::int64_t i) { return pre[r][i] + (bias ? bias[i] : 0.0); };
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < width; ++i) {
      const double value = evaluate(arguments.kind, biased(r, i)).value;
      h[r][i] = static_cast<T>(gated ? value * biased(r, width + i) : value);
    }
  }
}

template <class T>
void backward(const ActivationBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "activation_backward";
  const bool gated = is_gated(arguments.kind);
  const std::int64_t rows = arguments.dh.rows(), width = arguments.dh.cols();
  const std::int64_t inputs = gated ? 2 * width : width;
  const Rows<T> pre(op, "pre", arguments.pre, rows, inputs);
  const auto bias = Vector<T>::optional(op, "bias", arguments.bias, inputs);
  const Rows<T> dh(op, "dh", arguments.dh, rows, width);
  const Rows<T> dpre(op, "dpre", arguments.dpre, rows, inputs);
  const auto h = Rows<T>::optional(op, "h", arguments.h, rows, width);
  const auto dbias = Vector<T>::optional(op, "dbias", arguments.dbias, inputs);
  Scratch scratch(op, arguments.workspace, workspace_bytes);
  double* dbias_sums = dbias ? scratch.take(inputs) : nullptr;

  const auto biased = [&](std::int64_t r, std::int64_t i) { return pre[r][i] + (bias ? bias[i] : 0.0); };
  const auto store = [&](std::int64_t r, std::int64_t i, double gradient) {
    dpre[r][i] = static_cast<T>(gradient);
    if (dbias) dbias_sums[i] += gradient;
  };
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < width; ++i) {
      const ValueAndSlope gate = evaluate(arguments.kind, biased(r, i));
      // Everything is read before it is written: dpre may be the same view as pre, and h as dh.
      const double up = gated ? biased(r, width + i) : 1.0;
      const double upstream = dh[r][i];
      store(r, i, upstream * gate.slope * up);
      if (gated) store(r, width + i, upstream * gate.value);
      if (h) h[r][i] = static_cast<T>(gate.value * up);
    }
  }
  if (dbias) dbias.add(dbias_sums);
}

}  // namespace

void ReferenceActivation::activation_forward(Stream&, const ActivationForward& arguments) const {
  with_scalar("activation_forward", arguments.pre.dtype,
              [&](auto scalar) { forward<decltype(scalar)>(arguments); });
}

void ReferenceActivation::activation_backward(Stream&, const ActivationBackward& arguments) const {
  with_scalar("activation_backward", arguments.dh.dtype, [&](auto scalar) {
    backward<decltype(scalar)>(arguments, activation_backward_workspace(arguments));
  });
}

std::size_t ReferenceActivation::activation_backward_workspace(const ActivationBackward& arguments) const {
  return scratch_bytes(arguments.dbias.elements());
}

}  // namespace plumb::reference
