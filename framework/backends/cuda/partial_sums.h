// The second half of sums over a whole grid: blocks leave partial sums, which are then added up in a fixed
// order, so that results are the same bits in every run.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace plumb::cuda {

/// Which of the features that partial sums are there for are meant: `group` neighbours out of every `step`,
/// from `first` on, `count` of them in all.
struct PartialFeatures {
  std::int64_t count;
  std::int64_t group = 1, step = 1, first = 0;
};

/// out[f] += the sum over `terms` of partials (features, terms), in float64. For up to some hundred features:
/// a block each.
void launch_add_partials(const char* name, cudaStream_t stream, const double* partials,
                         const PartialFeatures& features, std::int64_t terms, float* out);

}  // namespace plumb::cuda
