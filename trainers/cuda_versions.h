// What the CUDA plug-in of this build was compiled with.
#pragma once

namespace plumb {

/// As each library counts its versions; 0 = there is no plug-in in this build.
struct CudaVersions {
  long runtime = 0;  ///< 13000 for CUDA 13.0; linked statically, so there is no library to ask
  long cublaslt = 0;
  long cudnn = 0;
  long nccl = 0;
};
CudaVersions compiled_cuda_versions();

}  // namespace plumb
