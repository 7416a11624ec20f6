#include <algorithm>
#include <cmath>

#include "backend/guard_rules.h"
#include "backend/step_rules.h"
#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/tensor_pieces.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

constexpr std::int64_t kBlock =
    4096;  // elements whose squares are summed in fp32 before they go into float64

/// Pointers to one tensor's elements; all checked.
struct UpdateView {
  float *parameter, *momentum, *variance;  // variance null for SGD
  const float* gradient;

  UpdateView(const char* op, const UpdateTensor& tensor, bool has_variance) {
    const std::int64_t elements = tensor.parameter.elements();
    parameter = vector_of<float>(op, "parameter", tensor.parameter, elements);
    gradient = vector_of<float>(op, "gradient", tensor.gradient, elements);
    momentum = vector_of<float>(op, "momentum", tensor.momentum, elements);
    variance = has_variance ? vector_of<float>(op, "variance", tensor.variance, elements) : nullptr;
    const Tensor& copy = tensor.compute_copy;
    if (!copy.defined()) return;
    PLUMB_CHECK(copy.dtype == DType::Float32 || copy.dtype == DType::BFloat16, "{}: compute_copy is {}", op,
                name_of(copy.dtype));
    require_vector(op, "compute_copy", copy, copy.dtype, elements);
  }
  static UpdateView unchecked(const UpdateTensor& tensor) { return UpdateView(tensor); }

 private:
  explicit UpdateView(const UpdateTensor& tensor)
      : parameter(static_cast<float*>(tensor.parameter.data)),
        momentum(static_cast<float*>(tensor.momentum.data)),
        variance(static_cast<float*>(tensor.variance.data)),
        gradient(static_cast<const float*>(tensor.gradient.data)) {}
};

/// The rule parameter -= rate * (direction + decay * parameter) and how its direction comes about.
struct AdamRule {
  static constexpr bool kHasVariance = true;
  float clip, beta1, beta2, inverse_correction1, inverse_root_correction2;
  float rate, decay, epsilon;

  AdamRule(const AdamW& arguments, const double* scalars, double factor, const UpdateTensor& tensor)
      : clip(static_cast<float>(factor * scalars[kStepClipFactor] / scalars[kStepLossScale])),
        beta1(static_cast<float>(arguments.beta1)),
        beta2(static_cast<float>(arguments.beta2)),
        inverse_correction1(static_cast<float>(1 / scalars[kStepBiasCorrection1])),
        inverse_root_correction2(static_cast<float>(1 / std::sqrt(scalars[kStepBiasCorrection2]))),
        rate(static_cast<float>(scalars[kStepLearningRate] * tensor.learning_rate_scale)),
        decay(static_cast<float>(tensor.weight_decay)),
        epsilon(static_cast<float>(arguments.epsilon * tensor.epsilon_scale)),
        complement1_(static_cast<float>(1 - arguments.beta1)),
        complement2_(static_cast<float>(1 - arguments.beta2)) {}

  /// lag += g^2 / max(v^, eps^2); dominated += 1 where sqrt(v^) < eps.
  PLUMB_VECTOR float new_value(float old_value, float gradient, float& momentum, float& variance, float& lag,
                               float& dominated) const {
    const float g = clip * gradient;
    momentum = beta1 * momentum + complement1_ * g;
    variance = beta2 * variance + complement2_ * g * g;
    const float root = std::sqrt(variance) * inverse_root_correction2;
    const float direction = momentum * inverse_correction1 / (root + epsilon);
    // Of the root, not of v: squares of a small eps are not in fp32.
    const float relative = g / (root < epsilon ? epsilon : root);
    lag += relative * relative;
    dominated += root < epsilon ? 1.0F : 0.0F;
    return old_value - rate * (direction + decay * old_value);
  }

 private:
  float complement1_, complement2_;
};

struct SgdRule {
  static constexpr bool kHasVariance = false;
  float clip, mu, rate, decay;

  SgdRule(const SgdMomentum& arguments, const double* scalars, double factor, const UpdateTensor& tensor)
      : clip(static_cast<float>(factor * scalars[kStepClipFactor] / scalars[kStepLossScale])),
        mu(static_cast<float>(arguments.momentum)),
        rate(static_cast<float>(scalars[kStepLearningRate] * tensor.learning_rate_scale)),
        decay(static_cast<float>(tensor.weight_decay)) {}

  PLUMB_VECTOR float new_value(float old_value, float gradient, float& momentum, float&, float&,
                               float&) const {
    momentum = mu * momentum + clip * gradient;
    return old_value - rate * (momentum + decay * old_value);
  }
};

// Squares of the changes, squares of the old values, squares of the lag, entries where epsilon dominates.
using UpdateSums = PieceSums<4>;

/// Elements [begin, end); copy null: no compute copy; kLag: with the last two sums.
template <bool kLag, class Rule, class Copy>
UpdateSums update_piece(const Rule& rule_of_tensor, const UpdateView& view, Copy* copy, std::int64_t begin,
                        std::int64_t end) {
  UpdateSums sums{};
  // Copies on the stack: members that are read in the loop would be read lane by lane.
  const Rule rule = rule_of_tensor;
  float *parameter = view.parameter, *momentum = view.momentum, *variance = view.variance;
  const float* gradient = view.gradient;
  for (std::int64_t block = begin; block < end; block += kBlock) {
    const std::int64_t block_end = std::min(end, block + kBlock);
    float changes = 0, squares = 0, lag = 0, dominated = 0;
#pragma omp simd reduction(+ : changes, squares, lag, dominated)
    for (std::int64_t i = block; i < block_end; ++i) {
      const float old_value = parameter[i];
      float new_momentum = momentum[i], new_variance = 0, lag_here = 0, dominated_here = 0;
      if constexpr (Rule::kHasVariance) new_variance = variance[i];
      const float new_value =
          rule.new_value(old_value, gradient[i], new_momentum, new_variance, lag_here, dominated_here);
      if constexpr (kLag) lag += lag_here, dominated += dominated_here;
      parameter[i] = new_value;
      momentum[i] = new_momentum;
      if constexpr (Rule::kHasVariance) variance[i] = new_variance;
      squares += old_value * old_value;
      changes += (new_value - old_value) * (new_value - old_value);
    }
    // A loop of its own, from cache: with the sums in one loop bf16 would not be vectorised.
    if (copy != nullptr) {
#pragma omp simd
      for (std::int64_t i = block; i < block_end; ++i) store(parameter[i], &copy[i]);
    }
    sums[0] += static_cast<double>(changes);
    sums[1] += static_cast<double>(squares);
    sums[2] += static_cast<double>(lag);
    sums[3] += static_cast<double>(dominated);
  }
  return sums;
}

template <class Rule>
UpdateSums update_piece(const Rule& rule, const UpdateView& view, const Tensor& copy, bool lag,
                        std::int64_t begin, std::int64_t end) {
  const auto run = [&](auto* typed_copy) {
    if constexpr (Rule::kHasVariance)
      if (lag) return update_piece<true>(rule, view, typed_copy, begin, end);
    return update_piece<false>(rule, view, typed_copy, begin, end);
  };
  if (copy.dtype == DType::BFloat16) return run(static_cast<bfloat16*>(copy.data));
  return run(static_cast<float*>(copy.data));
}

/// What a skipped step reports: nothing has changed.
UpdateSums measure_piece(const UpdateView& view, std::int64_t begin, std::int64_t end) {
  UpdateSums sums{};
  for (std::int64_t block = begin; block < end; block += kBlock) {
    const std::int64_t block_end = std::min(end, block + kBlock);
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t i = block; i < block_end; ++i) squares += view.parameter[i] * view.parameter[i];
    sums[1] += static_cast<double>(squares);
  }
  return sums;
}

template <class Rule, class Arguments>
void update_all(const char* op, const Arguments& arguments, std::span<const UpdateTensor> tensors) {
  const auto count = static_cast<std::int64_t>(tensors.size());
  const double* scalars = vector_of<double>(op, "step_scalars", arguments.step_scalars, kStepScalars);
  const double* factors = optional_vector<double>(op, "tensor_factors", arguments.tensor_factors, count);
  const UpdateStatistics& statistics = arguments.statistics;
  double* update_square = optional_vector<double>(op, "update_square", statistics.update_square, count);
  double* parameter_square =
      optional_vector<double>(op, "parameter_square", statistics.parameter_square, count);
  PLUMB_CHECK(Rule::kHasVariance || !(statistics.lag_squares.defined() || statistics.eps_dominated.defined()),
              "{}: lag_squares and eps_dominated go with adamw", op);
  double* lag_squares = optional_vector<double>(op, "lag_squares", statistics.lag_squares, count);
  double* eps_dominated = optional_vector<double>(op, "eps_dominated", statistics.eps_dominated, count);
  const bool lag = lag_squares != nullptr || eps_dominated != nullptr;
  for (const UpdateTensor& tensor : tensors) UpdateView(op, tensor, Rule::kHasVariance);
  const bool skip = scalars[kStepSkipFactor] == 0;

  for_tensor_pieces<4>(
      count, [&](std::int64_t n) { return tensors[static_cast<std::size_t>(n)].parameter.elements(); },
      [&](std::int64_t n, std::int64_t begin, std::int64_t end) {
        const UpdateTensor& tensor = tensors[static_cast<std::size_t>(n)];
        const UpdateView view = UpdateView::unchecked(tensor);
        if (skip) return measure_piece(view, begin, end);
        const Rule rule(arguments, scalars, factors == nullptr ? 1 : factors[n], tensor);
        return update_piece(rule, view, tensor.compute_copy, lag, begin, end);
      },
      [&](std::int64_t n, const UpdateSums& sums) {
        if (update_square != nullptr) update_square[n] = sums[0];
        if (parameter_square != nullptr) parameter_square[n] = sums[1];
        if (lag_squares != nullptr) lag_squares[n] = sums[2];
        if (eps_dominated != nullptr) eps_dominated[n] = sums[3];
      });
}

}  // namespace

void CpuOptimizer::adamw(Stream&, const AdamW& arguments, std::span<const UpdateTensor> tensors) const {
  update_all<AdamRule>("adamw", arguments, tensors);
}

void CpuOptimizer::sgd_momentum(Stream&, const SgdMomentum& arguments,
                                std::span<const UpdateTensor> tensors) const {
  update_all<SgdRule>("sgd_momentum", arguments, tensors);
}

std::size_t CpuOptimizer::update_workspace(std::span<const UpdateTensor>) const { return 0; }

void CpuOptimizer::clip(Stream&, const Clip& arguments) const {
  const std::int64_t count = arguments.squares.elements();
  const double* squares = vector_of<double>("clip", "squares", arguments.squares, count);
  double* scalars = vector_of<double>("clip", "step_scalars", arguments.step_scalars, kStepScalars);
  double sum = 0;
  for (std::int64_t n = 0; n < count; ++n) sum += squares[n];
  decide_clip(std::sqrt(sum), arguments.max_norm, arguments.halts, scalars);
}

void CpuOptimizer::guard_step(Stream&, const StepGuard& arguments) const {
  const char* op = "guard_step";
  const GuardRules& rules = arguments.rules;
  const std::int64_t count = arguments.squares.elements();
  const double* squares = vector_of<double>(op, "squares", arguments.squares, count);
  double* state = vector_of<double>(op, "state", arguments.state, kGuardState + count);
  double* scalars = vector_of<double>(op, "step_scalars", arguments.step_scalars, kStepScalars);
  const std::int64_t ranks = arguments.losses.defined() ? arguments.losses.elements() : 0;
  const double* losses = optional_vector<double>(op, "losses", arguments.losses, ranks);
  decide_guard(rules, losses, ranks, arguments.targets, state, scalars,
               [](double square) { return std::sqrt(square); });
  if (rules.tensor_ratio == 0) return;
  double* factors = vector_of<double>(op, "tensor_factors", arguments.tensor_factors, count);
  std::fill_n(factors, count, 1.0);
  if (scalars[kStepSkipFactor] == 0) return;
  const bool clips = clips_tensors(rules, state);
  double clipped = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    const double norm = std::sqrt(squares[n]) / scalars[kStepAppliedLossScale];
    factors[n] = guard_tensor(rules, clips, norm, scalars[kStepClipFactor], state[kGuardState + n]);
    clipped += factors[n] < 1 ? 1 : 0;
  }
  finish_guard(clips, clipped, state, scalars);
}

void CpuOptimizer::adapt_loss_scale(Stream&, const LossScaling& arguments) const {
  double* scalars =
      vector_of<double>("adapt_loss_scale", "step_scalars", arguments.step_scalars, kStepScalars);
  decide_loss_scale(static_cast<double>(arguments.interval), arguments.largest, scalars);
}

}  // namespace plumb::cpu
