// Launchers of the ops on parameters; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/parameter.h"

namespace plumb::cuda {

void launch_coefficient_map_forward(cudaStream_t stream, const CoefficientMap& arguments);
void launch_coefficient_map_backward(cudaStream_t stream, const CoefficientMapBackward& arguments);

void launch_row_gain_forward(cudaStream_t stream, const RowGain& arguments);
/// Blocks that leave a partial sum where one gain serves all rows.
std::int64_t row_gain_blocks(const RowGainBackward& arguments);
/// `partials`: a double for every block; null unless dgain has one element.
void launch_row_gain_backward(cudaStream_t stream, const RowGainBackward& arguments, double* partials);

/// Partial sums (row blocks, cols) of a weight whose columns are normalised; 0 by rows.
std::int64_t sphere_partials(const SphereWeight& weight);
void launch_normalize_sphere(cudaStream_t stream, const NormalizeSpheres& arguments,
                             const SphereWeight& weight, double* partials);

}  // namespace plumb::cuda
