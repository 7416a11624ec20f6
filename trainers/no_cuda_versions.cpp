// A build without the CUDA plug-in.
#include "cuda_versions.h"

namespace plumb {

CudaVersions compiled_cuda_versions() { return {}; }

}  // namespace plumb
