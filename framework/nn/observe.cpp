#include "nn/observe.h"

namespace plumb {

void plan_gradient_observation(Backend& backend, ArenaPlan& plan, const Tensor& x) {
  const Tensor scalar(nullptr, DType::Float64, {1});
  plan.require_workspace(backend.observations().row_squares_workspace(
      {.x = x, .sum = scalar, .largest = scalar, .workspace = {}}));
}

void plan_activation_observation(Backend& backend, ArenaPlan& plan, const Tensor& x,
                                 std::int64_t rows_per_sequence) {
  const ObservationOps& ops = backend.observations();
  plan.require_workspace(ops.magnitude_histogram_workspace(
      {.x = x, .counts = Tensor(nullptr, DType::Float64, {kMagnitudeBins}), .workspace = {}}));
  plan.require_workspace(
      ops.token_similarity_workspace({.x = x,
                                      .rows_per_sequence = rows_per_sequence,
                                      .sums = Tensor(nullptr, DType::Float64, {kSimilaritySums}),
                                      .workspace = {}}));
}

void observe_gradient(const Context& context, const Tensor& gradient, std::span<const GradientProbe> probes,
                      std::int64_t k) {
  if (probes.empty()) return;
  const GradientProbe& probe = probes[static_cast<std::size_t>(k)];
  context.backend.observations().row_squares(context.stream, {.x = gradient,
                                                              .sum = probe.square,
                                                              .largest = probe.largest_row_square,
                                                              .workspace = context.workspace()});
}

void observe_magnitudes(const Context& context, const Tensor& x, const ActivationProbe& probe) {
  if (!probe.magnitudes.defined()) return;
  context.backend.observations().magnitude_histogram(
      context.stream, {.x = x, .counts = probe.magnitudes, .workspace = context.workspace()});
}

void observe_similarity(const Context& context, const Tensor& x, const ActivationProbe& probe) {
  if (!probe.similarity.defined()) return;
  context.backend.observations().token_similarity(context.stream, {.x = x,
                                                                   .rows_per_sequence = context.shape.tokens,
                                                                   .sums = probe.similarity,
                                                                   .workspace = context.workspace()});
}

}  // namespace plumb
