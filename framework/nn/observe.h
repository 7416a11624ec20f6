// Observations of whole tensors for the probes of a pass: what no other op of the model has at hand.
#pragma once

#include <span>

#include "nn/module.h"

namespace plumb {

/// Asks for the workspace of observe_gradient on tensors like this one; of observe_activations.
void plan_gradient_observation(Backend& backend, ArenaPlan& plan, const Tensor& x);
void plan_activation_observation(Backend& backend, ArenaPlan& plan, const Tensor& x,
                                 std::int64_t rows_per_sequence);

/// Adds what entry k of the probes asks for; nothing where there are no probes.
void observe_gradient(const Context& context, const Tensor& gradient, std::span<const GradientProbe> probes,
                      std::int64_t k);
/// Adds the magnitudes of x (R,C), and the similarity of the tokens of its sequences, if the probe asks for
/// them.
void observe_magnitudes(const Context& context, const Tensor& x, const ActivationProbe& probe);
void observe_similarity(const Context& context, const Tensor& x, const ActivationProbe& probe);

}  // namespace plumb
