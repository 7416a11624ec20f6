#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaLinear::linear_forward(Stream&, const LinearForward&) const {
  fail("linear_forward: not there yet");
}
void CudaLinear::linear_backward_input(Stream&, const LinearBackwardInput&) const {
  fail("linear_backward_input: not there yet");
}
void CudaLinear::linear_backward_weight(Stream&, const LinearBackwardWeight&) const {
  fail("linear_backward_weight: not there yet");
}
std::size_t CudaLinear::linear_forward_workspace(const LinearForward&) const {
  fail("linear_forward_workspace: not there yet");
}
std::size_t CudaLinear::linear_backward_input_workspace(const LinearBackwardInput&) const {
  fail("linear_backward_input_workspace: not there yet");
}
std::size_t CudaLinear::linear_backward_weight_workspace(const LinearBackwardWeight&) const {
  fail("linear_backward_weight_workspace: not there yet");
}

}  // namespace plumb::cuda
