// The profiling pass of Admin (arXiv 2004.08249): skip coefficients from the variance that branches add.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "nn/engine.h"

namespace plumb {

/// The batch to profile on; all ranks together see it whole, so that the result does not depend on how it is
/// split.
struct ProfileBatches {
  std::int64_t count = 1;                                 ///< micro-batches of this rank
  std::function<void(std::int64_t)> load;                 ///< uploads one to the engine
  std::function<void(std::span<double>)> sum_over_ranks;  ///< in place; a collective
};

/// Sets every trained skip coefficient, in all its entries, to
///   omega_0 = 1,  omega_{k+1} = sqrt( omega_k^2 Var(x_k) + b_k^2 Var(z_k) ),
/// x_k the stream before sublayer k, z_k its branch and b_k its step where training starts, without the
/// factor over time (which may start at 0), with omega_0 .. omega_k in place; Var over all entries of the
/// global batch (authors' code, LiyuanLucasLiu/Transformer-Clinic). The parameters must have been initialised
/// and the step begun. With one micro-batch a single forward pass; else one for every sublayer.
void profile_admin_skips(Engine& engine, const ProfileBatches& batches);

}  // namespace plumb
