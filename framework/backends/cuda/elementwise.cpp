#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaElementwise::fill(Stream&, const Tensor&, double) const { fail("fill: not there yet"); }
void CudaElementwise::copy(Stream&, const Tensor&, const Tensor&) const { fail("copy: not there yet"); }
void CudaElementwise::add(Stream&, const Tensor&, const Tensor&) const { fail("add: not there yet"); }
void CudaElementwise::sum_of_squares(Stream&, std::span<const Tensor>, const Tensor&, bool) const {
  fail("sum_of_squares: not there yet");
}
void CudaElementwise::group_gain_forward(Stream&, const GroupGain&) const {
  fail("group_gain_forward: not there yet");
}
void CudaElementwise::group_gain_backward(Stream&, const GroupGainBackward&) const {
  fail("group_gain_backward: not there yet");
}
std::size_t CudaElementwise::group_gain_backward_workspace(const GroupGainBackward&) const {
  fail("group_gain_backward_workspace: not there yet");
}
void CudaElementwise::scalar_bias_forward(Stream&, const ScalarBias&) const {
  fail("scalar_bias_forward: not there yet");
}
void CudaElementwise::scalar_bias_backward(Stream&, const ScalarBiasBackward&) const {
  fail("scalar_bias_backward: not there yet");
}
std::size_t CudaElementwise::scalar_bias_backward_workspace(const ScalarBiasBackward&) const {
  fail("scalar_bias_backward_workspace: not there yet");
}

}  // namespace plumb::cuda
