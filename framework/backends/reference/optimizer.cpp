#include <algorithm>
#include <cmath>

#include "backend/guard_rules.h"
#include "backend/step_rules.h"
#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "backends/reference/scalar_access.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

/// What AdamW adds to the statistics for one entry.
struct Lag {
  double square = 0;
  bool eps_dominates = false;
};

/// Runs new_value(tensor views, i, ..., lag) over every tensor and takes the statistics of the change.
template <class NewValue>
void update_all(const char* op, const Tensor& step_scalars, const Tensor& tensor_factors,
                const UpdateStatistics& statistics, std::span<const UpdateTensor> tensors, bool has_variance,
                NewValue&& new_value) {
  const Vector<double> scalars(op, "step_scalars", step_scalars, kStepScalars);
  const bool skip = scalars[kStepSkipFactor] == 0;
  const auto count = static_cast<std::int64_t>(tensors.size());
  const auto factors = Vector<double>::optional(op, "tensor_factors", tensor_factors, count);
  const auto update_square = Vector<double>::optional(op, "update_square", statistics.update_square, count);
  const auto parameter_square =
      Vector<double>::optional(op, "parameter_square", statistics.parameter_square, count);
  PLUMB_CHECK(has_variance || !(statistics.lag_squares.defined() || statistics.eps_dominated.defined()),
              "{}: lag_squares and eps_dominated go with adamw", op);
  const auto lag_squares = Vector<double>::optional(op, "lag_squares", statistics.lag_squares, count);
  const auto eps_dominated = Vector<double>::optional(op, "eps_dominated", statistics.eps_dominated, count);

  for (std::int64_t n = 0; n < count; ++n) {
    const UpdateTensor& tensor = tensors[static_cast<std::size_t>(n)];
    with_scalar(op, tensor.parameter.dtype, [&](auto scalar) {
      using T = decltype(scalar);
      const std::int64_t elements = tensor.parameter.elements();
      const Vector<T> parameter(op, "parameter", tensor.parameter, elements);
      const Vector<T> gradient(op, "gradient", tensor.gradient, elements);
      const Vector<T> momentum(op, "momentum", tensor.momentum, elements);
      const auto variance =
          Vector<T>::optional(op, "variance", has_variance ? tensor.variance : Tensor(), elements);
      PLUMB_CHECK(variance || !has_variance, "{}: tensor {} has no variance", op, n);
      const bool copied = tensor.compute_copy.defined();
      if (copied)
        require_vector(op, "compute_copy", tensor.compute_copy, tensor.compute_copy.dtype, elements);
      double changes = 0, squares = 0, lags = 0, dominated = 0;
      for (std::int64_t i = 0; i < elements; ++i) {
        const double old_value = parameter[i];
        squares += old_value * old_value;
        if (skip) continue;
        const double factor = scalars[kStepClipFactor] * (factors ? factors[n] : 1);
        const double clipped = factor * gradient[i] / scalars[kStepLossScale];
        Lag lag;
        parameter[i] =
            static_cast<T>(new_value(tensor, momentum, variance, scalars, i, old_value, clipped, lag));
        lags += lag.square;
        dominated += lag.eps_dominates ? 1 : 0;
        changes += (parameter[i] - old_value) * (parameter[i] - old_value);
        if (copied) store(tensor.compute_copy.reshaped(Shape{1, elements}), 0, i, parameter[i]);
      }
      if (update_square) update_square[n] = changes;
      if (parameter_square) parameter_square[n] = squares;
      if (lag_squares) lag_squares[n] = lags;
      if (eps_dominated) eps_dominated[n] = dominated;
    });
  }
}

}  // namespace

void ReferenceOptimizer::adamw(Stream&, const AdamW& arguments, std::span<const UpdateTensor> tensors) const {
  update_all("adamw", arguments.step_scalars, arguments.tensor_factors, arguments.statistics, tensors, true,
             [&](const UpdateTensor& tensor, auto& momentum, auto& variance, auto& scalars, std::int64_t i,
                 double old_value, double gradient, Lag& lag) {
               using T = std::remove_cvref_t<decltype(momentum[i])>;
               const double beta1 = arguments.beta1, beta2 = arguments.beta2;
               const double m = beta1 * momentum[i] + (1 - beta1) * gradient;
               const double v = beta2 * variance[i] + (1 - beta2) * gradient * gradient;
               momentum[i] = static_cast<T>(m);
               variance[i] = static_cast<T>(v);
               const double learning_rate = scalars[kStepLearningRate] * tensor.learning_rate_scale;
               const double root = std::sqrt(v / scalars[kStepBiasCorrection2]);
               const double epsilon = arguments.epsilon * tensor.epsilon_scale;
               const double relative = gradient / (root < epsilon ? epsilon : root);
               lag = {relative * relative, root < epsilon};
               const double direction = (m / scalars[kStepBiasCorrection1]) / (root + epsilon);
               return old_value - learning_rate * (direction + tensor.weight_decay * old_value);
             });
}

void ReferenceOptimizer::sgd_momentum(Stream&, const SgdMomentum& arguments,
                                      std::span<const UpdateTensor> tensors) const {
  update_all("sgd_momentum", arguments.step_scalars, arguments.tensor_factors, arguments.statistics, tensors,
             false,
             [&](const UpdateTensor& tensor, auto& momentum, auto&, auto& scalars, std::int64_t i,
                 double old_value, double gradient, Lag&) {
               using T = std::remove_cvref_t<decltype(momentum[i])>;
               const double velocity = arguments.momentum * momentum[i] + gradient;
               momentum[i] = static_cast<T>(velocity);
               const double learning_rate = scalars[kStepLearningRate] * tensor.learning_rate_scale;
               return old_value - learning_rate * (velocity + tensor.weight_decay * old_value);
             });
}

std::size_t ReferenceOptimizer::update_workspace(std::span<const UpdateTensor>) const { return 0; }

void ReferenceOptimizer::clip(Stream&, const Clip& arguments) const {
  const Vector<double> squares("clip", "squares", arguments.squares, arguments.squares.elements());
  const Vector<double> scalars("clip", "step_scalars", arguments.step_scalars, kStepScalars);
  double sum = 0;
  for (std::int64_t n = 0; n < arguments.squares.elements(); ++n) sum += squares[n];
  decide_clip(std::sqrt(sum), arguments.max_norm, arguments.halts, &scalars[0]);
}

void ReferenceOptimizer::guard_step(Stream&, const StepGuard& arguments) const {
  const char* op = "guard_step";
  const GuardRules& rules = arguments.rules;
  const std::int64_t count = arguments.squares.elements();
  const Vector<double> squares(op, "squares", arguments.squares, count);
  const Vector<double> state(op, "state", arguments.state, kGuardState + count);
  const Vector<double> scalars(op, "step_scalars", arguments.step_scalars, kStepScalars);
  const std::int64_t ranks = arguments.losses.defined() ? arguments.losses.elements() : 0;
  const auto losses = Vector<double>::optional(op, "losses", arguments.losses, ranks);
  decide_guard(rules, losses ? &losses[0] : nullptr, ranks, arguments.targets, &state[0], &scalars[0],
               [](double square) { return std::sqrt(square); });
  if (rules.tensor_ratio == 0) return;
  const Vector<double> factors(op, "tensor_factors", arguments.tensor_factors, count);
  for (std::int64_t n = 0; n < count; ++n) factors[n] = 1;
  if (scalars[kStepSkipFactor] == 0) return;
  const bool clips = clips_tensors(rules, &state[0]);
  double clipped = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    const double norm = std::sqrt(squares[n]) / scalars[kStepAppliedLossScale];
    factors[n] = guard_tensor(rules, clips, norm, scalars[kStepClipFactor], state[kGuardState + n]);
    if (factors[n] < 1) clipped += 1;
  }
  finish_guard(clips, clipped, &state[0], &scalars[0]);
}

void ReferenceOptimizer::adapt_loss_scale(Stream&, const LossScaling& arguments) const {
  const Vector<double> scalars("adapt_loss_scale", "step_scalars", arguments.step_scalars, kStepScalars);
  decide_loss_scale(static_cast<double>(arguments.interval), arguments.largest, &scalars[0]);
}

}  // namespace plumb::reference
