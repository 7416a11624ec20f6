// What a placement, its schedule and its depth do to the stream and to its gradient at init: the recursion of
// variances of the block equation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "stability/growth_class.h"
#include "theory/resolved_model.h"

namespace plumb {

struct PredictionStart {
  std::optional<double> variance{};  ///< of the entries of x_0; else that of the embeddings as drawn
  double similarity = 0;             ///< mean cosine between the rows x_0 of two tokens of a sequence
  double gradient_similarity = 0;    ///< the same of dL/dx_K
  bool training = true;              ///< dropout and Bernoulli factors act
};

/// K sublayers. All of it is expectation over weights and data: a prediction, no bound.
struct DepthPrediction {
  std::string reason{};            ///< why there is none; else empty
  std::vector<double> stream;      ///< (K+1) E x_k^2 per entry: the entry-wise variance, where means are 0
  std::vector<double> branch;      ///< (K) the same of z
  std::vector<double> before_out;  ///< (K) the same of y = F(u), which N_out reads
  std::vector<double> alignment;   ///< (K) E <x, z> / sqrt(E x^2 E z^2)
  std::vector<double> similarity;  ///< (K+1) of tokens
  std::vector<double> backward_factor;  ///< (K) E |dL/dx_k|^2 / E |dL/dx_{k+1}|^2
  std::vector<double> gradient;         ///< (K+1) sqrt of E |dL/dx_k|^2 over E |dL/dx_K|^2
  Growth growth{};                      ///< of `stream`, classified like a measured profile

  bool available() const { return reason.empty(); }
  double gradient_ratio() const { return gradient.front(); }  ///< bottom / top
};

/// Forward, with x' = p N_post(a x + b z + e x_block) and z = N_out(F(c N_in(x))):
///   E s^2 = a^2 E x^2 + b^2 E z^2 + e^2 E x_block^2 + 2 a b E<x,z> + 2 a e E<x,x_block> + 2 b e E<x_block,z>
/// where E z^2 is branch_moments() through the norms and E<x,z> follows from the correlation of layers:
/// independent weights give 0, weights correlated over depth (model.init.depth_correlation) give z_j and z_k
/// the correlation of their weights (per matrix passed) times the cosine of what they read. Backward, the
/// same sum over what comes back through the branches, with the mean-square factors of docs/design/theory.md:
///   N(x) passes a gradient with g^2 / (E x^2 + eps) in mean square, F with r^2.
/// n/a for more than one stream.
/// Source: arXiv 2502.02732 (independent branches add variance; aligned ones reach the quadratic bound); the
/// correlations are ours.
DepthPrediction predict_depth(const ResolvedModel& model, const PredictionStart& start = {});

/// p = log2(Var_K / Var_{K/2}): 1 = independent branches, 2 = aligned ones, above 2 branches that grow with
/// depth (docs/check.md). NaN for fewer than 2 sublayers.
double doubling_exponent(const std::vector<double>& variance);

/// The mean-square factor of one sublayer, without correlations:
///   (post)^2 p^2 (a^2 + b^2 (out)^2 r^2 c^2 (in)^2),   (in)^2 = g^2 / (sigma(x)^2 + eps) and so on.
/// stream, before_out, sum: mean squares of x, y and s, predicted or measured.
double backward_factor(const ResolvedSublayer& sublayer, const ModelConfig& model, double stream,
                       double before_out, double sum, double branch_gain, bool training);

}  // namespace plumb
