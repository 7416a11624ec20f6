// How large a row that leaves a norm can be.
#pragma once

#include <optional>
#include <string>

#include "backend/ops/norm.h"
#include "theory/host_parameters.h"
#include "theory/resolved_model.h"

namespace plumb {

/// Where a norm slot acts, as NormExtent has it.
struct NormPlace {
  std::string name{};       ///< "blocks.3.ffn.norm_out"
  std::int64_t width = 1;   ///< entries of a row
  std::int64_t groups = 1;  ///< vectors per row, normed one by one with the same gain and bias
};

/// R with |N(x)|_2 <= R for every x, of one whole row; nothing for an empty slot. Per group of D entries:
///   layernorm, rmsnorm  sqrt(D) max|g| + |beta|   (the ellipsoid of arXiv 2510.09904, lemma 1)
///   l2                  max|g| + |beta|
///   dyt, derf           | |g| + |beta| |           as |tanh|, |erf| <= 1
/// Proof: docs/design/theory.md.
std::optional<double> norm_size(const NormConfig& norm, NormKind kind, const NormPlace& place,
                                const HostParameters& parameters);

/// The same from gain and bias themselves, one group; either may be empty (1 and 0).
double norm_size(NormKind kind, std::int64_t width, std::span<const double> gain,
                 std::span<const double> bias);

}  // namespace plumb
