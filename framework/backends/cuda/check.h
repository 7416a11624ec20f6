// The one check of CUDA library calls. No heavy header is dragged in: device sources (.cu) include it too.
#pragma once

#include <cuda_runtime_api.h>

namespace plumb::cuda {

/// Throws Error with the expression, the place, host, rank, device and the library's own text unless the code
/// says success. A launch failure is found at the next call, so the text says that it may be an earlier
/// one's.
void check_cuda(cudaError_t code, const char* expression, const char* file, int line);

}  // namespace plumb::cuda

#define PLUMB_CUDA(call) ::plumb::cuda::check_cuda((call), #call, __FILE__, __LINE__)
