// The CUDA backend: kernels of its own, cuBLASLt, cuDNN and NCCL behind the Backend door.
#pragma once

#include <memory>

#include "backend/loader.h"

namespace plumb::cuda {

/// Binds this process to its GPU. `name` is "cuda" or "cuda-emulated".
std::unique_ptr<Backend> make_cuda_backend(const char* name, const BackendOptions& options);

}  // namespace plumb::cuda
