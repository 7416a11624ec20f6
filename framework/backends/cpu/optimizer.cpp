#include <cmath>

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

  AdamRule(const AdamW& arguments, const double* scalars, const UpdateTensor& tensor)
      : clip(static_cast<float>(scalars[kStepClipFactor] / scalars[kStepLossScale])),
        beta1(static_cast<float>(arguments.beta1)),
        beta2(static_cast<float>(arguments.beta2)),
        inverse_correction1(static_cast<float>(1 / scalars[kStepBiasCorrection1])),
        inverse_root_correction2(static_cast<float>(1 / std::sqrt(scalars[kStepBiasCorrection2]))),
        rate(static_cast<float>(scalars[kStepLearningRate] * tensor.learning_rate_scale)),
        decay(static_cast<float>(tensor.weight_decay)),
        epsilon(static_cast<float>(arguments.epsilon * tensor.epsilon_scale)),
        complement1_(static_cast<float>(1 - arguments.beta1)),
        complement2_(static_cast<float>(1 - arguments.beta2)) {}

  PLUMB_VECTOR float new_value(const UpdateView& view, std::int64_t i) const {
    const float g = clip * view.gradient[i], old_value = view.parameter[i];
    const float m = beta1 * view.momentum[i] + complement1_ * g;
    const float v = beta2 * view.variance[i] + complement2_ * g * g;
    view.momentum[i] = m;
    view.variance[i] = v;
    const float direction = m * inverse_correction1 / (std::sqrt(v) * inverse_root_correction2 + epsilon);
    return old_value - rate * (direction + decay * old_value);
  }

 private:
  float complement1_, complement2_;
};

struct SgdRule {
  static constexpr bool kHasVariance = false;
  float clip, mu, rate, decay;

  SgdRule(const SgdMomentum& arguments, const double* scalars, const UpdateTensor& tensor)
      : clip(static_cast<float>(scalars[kStepClipFactor] / scalars[kStepLossScale])),
        mu(static_cast<float>(arguments.momentum)),
        rate(static_cast<float>(scalars[kStepLearningRate] * tensor.learning_rate_scale)),
        decay(static_cast<float>(tensor.weight_decay)) {}

  PLUMB_VECTOR float new_value(const UpdateView& view, std::int64_t i) const {
    const float old_value = view.parameter[i];
    const float velocity = mu * view.momentum[i] + clip * view.gradient[i];
    view.momentum[i] = velocity;
    return old_value - rate * (velocity + decay * old_value);
  }
};

using UpdateSums = PieceSums<2>;  // squares of the changes, squares of the old values

/// Elements [begin, end); copy null: no compute copy.
template <class Rule, class Copy>
UpdateSums update_piece(const Rule& rule, const UpdateView& view, Copy* copy, std::int64_t begin,
                        std::int64_t end) {
  UpdateSums sums{};
  for (std::int64_t block = begin; block < end; block += kBlock) {
    const std::int64_t block_end = std::min(end, block + kBlock);
    float changes = 0, squares = 0;
#pragma omp simd reduction(+ : changes, squares)
    for (std::int64_t i = block; i < block_end; ++i) {
      const float old_value = view.parameter[i];
      const float new_value = rule.new_value(view, i);
      view.parameter[i] = new_value;
      squares += old_value * old_value;
      changes += (new_value - old_value) * (new_value - old_value);
    }
    // A loop of its own, from cache: with the sums in one loop bf16 would not be vectorised.
    if (copy != nullptr) {
#pragma omp simd
      for (std::int64_t i = block; i < block_end; ++i) store(view.parameter[i], &copy[i]);
    }
    sums[0] += static_cast<double>(changes);
    sums[1] += static_cast<double>(squares);
  }
  return sums;
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
  const UpdateStatistics& statistics = arguments.statistics;
  double* update_square = optional_vector<double>(op, "update_square", statistics.update_square, count);
  double* parameter_square =
      optional_vector<double>(op, "parameter_square", statistics.parameter_square, count);
  for (const UpdateTensor& tensor : tensors) UpdateView(op, tensor, Rule::kHasVariance);
  const bool skip = scalars[kStepSkipFactor] == 0;

  for_tensor_pieces<2>(
      count, [&](std::int64_t n) { return tensors[static_cast<std::size_t>(n)].parameter.elements(); },
      [&](std::int64_t n, std::int64_t begin, std::int64_t end) {
        const UpdateTensor& tensor = tensors[static_cast<std::size_t>(n)];
        const UpdateView view = UpdateView::unchecked(tensor);
        if (skip) return measure_piece(view, begin, end);
        const Rule rule(arguments, scalars, tensor);
        void* copy = tensor.compute_copy.data;
        if (tensor.compute_copy.dtype == DType::BFloat16)
          return update_piece(rule, view, static_cast<bfloat16*>(copy), begin, end);
        return update_piece(rule, view, static_cast<float*>(copy), begin, end);
      },
      [&](std::int64_t n, const UpdateSums& sums) {
        if (update_square != nullptr) update_square[n] = sums[0];
        if (parameter_square != nullptr) parameter_square[n] = sums[1];
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
  decide_clip(std::sqrt(sum), arguments.max_norm, scalars);
}

void CpuOptimizer::adapt_loss_scale(Stream&, const LossScaling& arguments) const {
  double* scalars =
      vector_of<double>("adapt_loss_scale", "step_scalars", arguments.step_scalars, kStepScalars);
  decide_loss_scale(static_cast<double>(arguments.interval), arguments.largest, scalars);
}

}  // namespace plumb::cpu
