#include "cuda_versions.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <nccl.h>

namespace plumb {

CudaVersions compiled_cuda_versions() {
  return {.runtime = CUDART_VERSION,
          .cublaslt = CUBLAS_VERSION,
          .cudnn = CUDNN_VERSION,
          .nccl = NCCL_VERSION_CODE};
}

}  // namespace plumb
