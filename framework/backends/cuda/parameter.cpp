#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaParameter::coefficient_map_forward(Stream&, const CoefficientMap&) const {
  fail("coefficient_map_forward: not there yet");
}
void CudaParameter::coefficient_map_backward(Stream&, const CoefficientMapBackward&) const {
  fail("coefficient_map_backward: not there yet");
}
void CudaParameter::row_gain_forward(Stream&, const RowGain&) const {
  fail("row_gain_forward: not there yet");
}
void CudaParameter::row_gain_backward(Stream&, const RowGainBackward&) const {
  fail("row_gain_backward: not there yet");
}
std::size_t CudaParameter::row_gain_backward_workspace(const RowGainBackward&) const {
  fail("row_gain_backward_workspace: not there yet");
}
void CudaParameter::normalize_spheres(Stream&, const NormalizeSpheres&, std::span<const SphereWeight>) const {
  fail("normalize_spheres: not there yet");
}
std::size_t CudaParameter::normalize_spheres_workspace(std::span<const SphereWeight>) const {
  fail("normalize_spheres_workspace: not there yet");
}

}  // namespace plumb::cuda
