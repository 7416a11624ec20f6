#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaActivation::activation_forward(Stream&, const ActivationForward&) const {
  fail("activation_forward: not there yet");
}
void CudaActivation::activation_backward(Stream&, const ActivationBackward&) const {
  fail("activation_backward: not there yet");
}
std::size_t CudaActivation::activation_backward_workspace(const ActivationBackward&) const {
  fail("activation_backward_workspace: not there yet");
}

}  // namespace plumb::cuda
