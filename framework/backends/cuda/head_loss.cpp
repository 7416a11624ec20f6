#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaHeadLoss::head_loss_forward(Stream&, const HeadLossForward&) const {
  fail("head_loss_forward: not there yet");
}
void CudaHeadLoss::head_loss_backward(Stream&, const HeadLossBackward&) const {
  fail("head_loss_backward: not there yet");
}
std::size_t CudaHeadLoss::head_loss_forward_workspace(const HeadLossForward&) const {
  fail("head_loss_forward_workspace: not there yet");
}
std::size_t CudaHeadLoss::head_loss_backward_workspace(const HeadLossBackward&) const {
  fail("head_loss_backward_workspace: not there yet");
}

}  // namespace plumb::cuda
