#include "backends/cuda/attention_backward.cuh"

namespace plumb::cuda {

void launch_attention_backward_128(cudaStream_t stream, const AttentionBackward& arguments,
                                   const float* expected) {
  if (arguments.q.dtype == DType::Float16) {
    launch_backward_instance<__half, 128>(stream, arguments, expected);
  } else {
    launch_backward_instance<__nv_bfloat16, 128>(stream, arguments, expected);
  }
}

}  // namespace plumb::cuda
