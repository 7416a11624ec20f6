// Is there a GPU? Asked without any CUDA library, in well under a millisecond where there is none.
#pragma once

#include <string>

namespace plumb {

/// What the driver says. Looks through dlopen only, so that the program starts where no driver is.
struct CudaProbe {
  int devices = 0;
  int driver_version = 0;  ///< 13000 for CUDA 13.0; 0 when there is no driver
  std::string reason;      ///< why there are no devices
};
const CudaProbe& probe_cuda();

}  // namespace plumb
