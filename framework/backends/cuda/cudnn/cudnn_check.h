// The one check of cuDNN calls.
#pragma once

#include <cudnn.h>

#include <source_location>
#include <string>

namespace plumb::cuda {

/// cuDNN's name for the status and what it last wrote about an error on this thread.
std::string cudnn_text(cudnnStatus_t status);

/// Throws Error with cuDNN's own text, the call, the place, host, rank and device unless the status says
/// success. Costs nothing when it does: it runs in every step.
void check_cudnn(cudnnStatus_t status, const char* call,
                 std::source_location where = std::source_location::current());

}  // namespace plumb::cuda

#define PLUMB_CUDNN(call) ::plumb::cuda::check_cudnn((call), #call)
