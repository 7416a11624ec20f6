// The bound on the residual stream, layer by layer, and what a measurement leaves of it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "theory/branch_bound.h"
#include "theory/coefficient_size.h"
#include "theory/host_parameters.h"
#include "theory/resolved_model.h"

namespace plumb {

/// What bounds one sublayer's step, made once from parameters.
struct SublayerTerms {
  CoefficientSizes sizes{};
  std::optional<double> in, out, post;  ///< R of the norm slots that are filled
  BranchBound branch{};                 ///< used where N_out is absent
};

/// For every sublayer. `with_operator_norms` false: branches without N_out are n/a, which costs nothing.
std::vector<SublayerTerms> bound_terms(const ResolvedModel& model, const HostParameters& parameters,
                                       const CoefficientTime& time, bool with_operator_norms);

/// How a level of the stream is bounded.
enum class BoundSource {
  Start,          ///< |x_0| as given
  OutNorm,        ///< by N_out here and at every sublayer since the start or the last N_post
  PostNorm,       ///< by N_post
  OperatorNorms,  ///< some branch is bounded by the norms of its matrices
  None
};
std::string_view name_of(BoundSource source);

/// Level k = 0..K: every row of the stream before sublayer k (K: after all) has |x_k|_2 <= bound[k].
struct StreamBound {
  std::vector<double> bound;  ///< NaN where none is proved
  std::vector<BoundSource> source;
  std::vector<std::string> reason;  ///< why none is proved; else empty
};

/// From |x_0| <= start, with S = |x'| before N_post and B the bound before the sublayer:
///   S = max|a| B + max|b| R / (1 - p_drop) + max|e| B_block;   B' = max|p| R_post with N_post, else max|p| S
/// R the bound of the branch: that of N_out, else branch_bound() at what enters it, max|c| times R_in or B.
/// Every sublayer multiplies it by 1 + allowance, for rounding (rounding_allowance()).
/// Proof: docs/design/theory.md (discrete form of arXiv 2510.09904's growth bounds).
StreamBound stream_bound(const ResolvedModel& model, const std::vector<SublayerTerms>& terms, double start,
                         bool training, double allowance);

/// The bound after one sublayer but for rounding: `stream` is B, `block` B_block, `branch` that of z after
/// dropout. Terms whose coefficient is 0 count as 0, also where their bound is NaN.
double next_level(const SublayerTerms& terms, double stream, double block, double branch);

/// Relative error that one sublayer may add to a row's norm: 2^-7 in bf16, 2^-10 in fp16, and
/// what is left of fp32 and fp64 after sums over a row (2^-20, 2^-45).
double rounding_allowance(DType compute);

/// The envelope that grows exponentially, from |F(u)| <= K_k (1 + |x|) by induction (discrete Gronwall):
///   1 + |x_k| <= (1 + |x_0|) prod_j (max|a_j| + max|b_j| K_j / (1 - p_drop))   for max|a| >= 1
/// A plausible shape of eq. (10) of arXiv 2510.09904, whose constants are not known here. It is weaker than
/// stream_bound(); it shows what "bounded by an exponential" allows. Entries are NaN where stream_bound() has
/// none, or where an FFN is quadratic in its input without N_in, or e or N_post act.
std::vector<double> exponential_envelope(const ResolvedModel& model, const std::vector<SublayerTerms>& terms,
                                         double start, bool training);

/// A measurement above its bound: an engine fault, or parameters that changed in between.
struct BoundViolation {
  std::int64_t level = 0;  ///< k of x_k
  std::int64_t step = 0;   ///< optimiser step
  std::string sublayer{};  ///< that wrote it; "embedding" at level 0
  double measured = 0, bound = 0;
};

/// bound, measured: of the largest row_norm of the stream at every level (K+1). A NaN on either side is none:
/// that is another event. Allocates nothing where there is no violation.
std::vector<BoundViolation> violations(const ResolvedModel& model, std::span<const double> bound,
                                       std::span<const double> measured, std::int64_t step);

/// "step 120: |x_13| = 41.2 after blocks.6.attention exceeds its bound 40.8".
std::string message_of(const BoundViolation& violation);

}  // namespace plumb
