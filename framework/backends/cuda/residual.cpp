#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaResidual::residual_forward(Stream&, const ResidualForward&) const {
  fail("residual_forward: not there yet");
}
void CudaResidual::residual_backward(Stream&, const ResidualBackward&) const {
  fail("residual_backward: not there yet");
}
std::size_t CudaResidual::residual_forward_workspace(const ResidualForward&) const {
  fail("residual_forward_workspace: not there yet");
}
std::size_t CudaResidual::residual_backward_workspace(const ResidualBackward&) const {
  fail("residual_backward_workspace: not there yet");
}

}  // namespace plumb::cuda
