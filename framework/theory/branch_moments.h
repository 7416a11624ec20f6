// What a branch does at init to the variance that enters it, and its transpose to a gradient.
#pragma once

#include "theory/gaussian_moments.h"
#include "theory/resolved_model.h"

namespace plumb {

/// Rows that enter a branch: mean square per entry, and the mean cosine between rows of two tokens of a
/// sequence.
struct TokenMoments {
  double square = 1;
  double similarity = 0;
};

/// J_F^T g for a gradient g of mean square 1 whose tokens have a mean cosine t: mean square own(t), mean
/// product of two tokens' rows pairs(t).
struct GradientMoments {
  double own_independent = 0, own_alike = 0;  ///< t = 0 and t = 1
  double pairs_independent = 0, pairs_alike = 0;
  double own(double t) const { return own_independent + t * (own_alike - own_independent); }
  double pairs(double t) const { return pairs_independent + t * (pairs_alike - pairs_independent); }
};

struct BranchMoments {
  TokenMoments out{};          ///< of F(u)
  GradientMoments backward{};  ///< r^2 = backward.own(t)
  int matrices = 1;            ///< how many weights a row passes: what depth correlation acts through
  ActivationMoments hidden{};  ///< of an FFN; else empty
};

/// Weights as drawn at init (nn/init.h), biases 0, gains at their start, rows Gaussian. With s_W^2 the
/// variance of a weight's entries, C the width, H*D the width of all heads, F the hidden width:
///   linear     v C s_W^2;   r^2 = C s_W^2
///   ffn        v -> h = C s_1^2 v -> F s_2^2 E act(h)^2;   r^2 = F s_2^2 E act'(h)^2 C s_1^2
///   attention  H*D s_O^2 C s_V^2 v (t + (1 - t) h),   t the similarity of tokens, h the mean of
///              sum_j p_ij^2 over rows, about exp(s^2)/i with s^2 the variance of logits between tokens;
///              r^2 = H*D s_O^2 (h' C s_V^2 + 2 h (1 - h) D scale^2 q^2 v_v (1 - t) C s_Q^2), h' = h for
///              independent gradients of tokens, for equal ones the mean of (sum_i p_ij)^2 over keys; the
///              second term comes through queries and keys (mean square q^2) and values (v_v)
/// Norms and gains inside F act where they stand. dropout: attention's, while training.
/// Source: docs/design/theory.md (r^2 as backward gain of the branch); moments of random
/// networks as in arXiv 1502.01852 and 2403.09635.
BranchMoments branch_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                             const TokenMoments& entering, double first_value_square, bool training);

/// Mean square of the values that attention reads from such rows, before a first attention's are mixed in.
double value_square(const ResolvedSublayer& sublayer, const ModelConfig& model, const TokenMoments& entering);

/// Of x_0: embeddings, position, N_emb and dropout at init.
double embedding_variance(const ModelConfig& model, bool training);

}  // namespace plumb
