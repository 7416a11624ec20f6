#include "backends/cuda/attention_backward.cuh"

namespace plumb::cuda {

void launch_attention_backward_64(cudaStream_t stream, const AttentionBackward& arguments,
                                  const float* expected) {
  if (arguments.q.dtype == DType::Float16) {
    launch_backward_instance<__half, 64>(stream, arguments, expected);
  } else {
    launch_backward_instance<__nv_bfloat16, 64>(stream, arguments, expected);
  }
}

}  // namespace plumb::cuda
