#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaAttention::attention_forward(Stream& stream, const AttentionForward& arguments) const {
  if (const AttentionLibrary* library = chooser_.library_for(request_of(arguments))) {
    library->forward(handle_of(stream), arguments);
    // A library gives no largest logit: attention_statistics, from q, k and log_sum_exp, is to.
    if (arguments.max_logit.defined()) fail("attention_forward: max_logit beside a library: not there yet");
    return;
  }
  fail("attention_forward: not there yet");
}

void CudaAttention::attention_backward(Stream& stream, const AttentionBackward& arguments) const {
  if (const AttentionLibrary* library = chooser_.library_for(request_of(arguments))) {
    library->backward(handle_of(stream), arguments);
    return;
  }
  fail("attention_backward: not there yet");
}

std::size_t CudaAttention::attention_forward_workspace(const AttentionForward& arguments) const {
  const AttentionRequest request = request_of(arguments);
  if (const AttentionLibrary* library = chooser_.library_for(request)) return library->workspace(request);
  fail("attention_forward_workspace: not there yet");
}

std::size_t CudaAttention::attention_backward_workspace(const AttentionBackward& arguments) const {
  const AttentionRequest request = request_of(arguments);
  if (const AttentionLibrary* library = chooser_.library_for(request)) return library->workspace(request);
  fail("attention_backward_workspace: not there yet");
}

void CudaAttention::rotary(Stream&, const Rotary&) const { fail("rotary: not there yet"); }
void CudaAttention::prepare_rotary(const Rotary&) const { fail("prepare_rotary: not there yet"); }

}  // namespace plumb::cuda
