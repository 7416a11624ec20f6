// Bounds of a branch F from the operator norms of its matrices.
#pragma once

#include <string>

#include "theory/coefficient_size.h"
#include "theory/host_parameters.h"
#include "theory/resolved_model.h"

namespace plumb {

/// |F(u)|_2 <= constant + linear R + quadratic R^2 for every row u with |u|_2 <= R, whatever the other
/// tokens; where none is proved, the reason.
struct BranchBound {
  bool proved = false;
  std::string reason{};
  double constant = 0, linear = 0, quadratic = 0;

  double at(double r) const { return constant + r * (linear + r * quadratic); }
};

/// Operator norms are taken from above (operator_norm.h), so the bound holds for the parameters as given, in
/// exact arithmetic. Inside attention, with weights p_ij >= 0 that sum to 1 before dropout q, and R the bound
/// of every token's row:
///   no attention dropout  sum_h ||W_O^h W_V^h|| R + |W_O b_V + b_O|
///   dropout q             sum_h (||W_O^h W_V^h|| R + |W_O^h b_V^h|) / (1 - q) + |b_O|
///   v-norm of size R_v    sum_h ||W_O^h|| R_v / (1 - q) + |b_O|
///   pre-projection norm   ||W_O|| R_pre + |b_O|
/// with gain.value inside W_O^h and a head's gain on its norms. FFN: activation_constants.h between
/// ||W_1|| R + |b_1| (times gain.ffn) and ||W_2||, b_2; an inner norm takes the place of what is before it.
/// linear: ||W|| R + |b|. Scalar biases of the branch add |bias| sqrt(entries) where they act.
/// n/a: attention that mixes in the first attention's values.
/// Proof: docs/design/theory.md. Cost: about 5 m^3 operations for a matrix of smaller side m.
BranchBound branch_bound(const ResolvedSublayer& sublayer, const ModelConfig& model,
                         const HostParameters& parameters, const CoefficientTime& time);

}  // namespace plumb
