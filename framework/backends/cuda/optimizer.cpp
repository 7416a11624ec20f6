#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaOptimizer::adamw(Stream&, const AdamW&, std::span<const UpdateTensor>) const {
  fail("adamw: not there yet");
}
void CudaOptimizer::sgd_momentum(Stream&, const SgdMomentum&, std::span<const UpdateTensor>) const {
  fail("sgd_momentum: not there yet");
}
void CudaOptimizer::clip(Stream&, const Clip&) const { fail("clip: not there yet"); }
void CudaOptimizer::adapt_loss_scale(Stream&, const LossScaling&) const {
  fail("adapt_loss_scale: not there yet");
}

}  // namespace plumb::cuda
