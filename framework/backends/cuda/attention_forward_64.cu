#include "backends/cuda/attention_forward.cuh"

namespace plumb::cuda {

int launch_attention_forward_64(cudaStream_t stream, const AttentionForward& arguments, float* largest) {
  if (arguments.q.dtype == DType::Float16)
    return launch_forward_instance<__half, 64>(stream, arguments, largest);
  return launch_forward_instance<__nv_bfloat16, 64>(stream, arguments, largest);
}

}  // namespace plumb::cuda
