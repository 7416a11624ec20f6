// A libcuda.so.1 that says "driver 13.0, no device": cuDNN compiles plans for a device that is described to
// it and, finding none here, loads none of them. Only for the test of plans, on its LD_LIBRARY_PATH; never
// installed.
#define EXPORTED extern "C" __attribute__((visibility("default"))) int

namespace {
constexpr int kSuccess = 0, kNoDevice = 100, kDriverVersion = 13000;
}

/// The test looks for it: is this the driver that was loaded?
EXPORTED plumb_null_driver() { return 1; }

EXPORTED cuInit(unsigned) { return kNoDevice; }
EXPORTED cuDriverGetVersion(int* version) {
  *version = kDriverVersion;
  return kSuccess;
}
EXPORTED cuDeviceGetCount(int* count) {
  *count = 0;
  return kNoDevice;
}
EXPORTED cuGetErrorName(int error, const char** name) {
  *name = error == kSuccess ? "CUDA_SUCCESS" : "CUDA_ERROR_NO_DEVICE";
  return kSuccess;
}
EXPORTED cuGetErrorString(int error, const char** text) {
  *text = error == kSuccess ? "no error" : "no device (null driver)";
  return kSuccess;
}

// cuDNN looks these up before it does anything; without a device it calls none.
#define REFUSED(name) \
  EXPORTED name() { return kNoDevice; }
REFUSED(cuDeviceGet)
REFUSED(cuCtxGetCurrent)
REFUSED(cuCtxGetLimit)
REFUSED(cuCtxPushCurrent)
REFUSED(cuCtxPopCurrent)
REFUSED(cuStreamGetCtx)
REFUSED(cuLibraryLoadData)
REFUSED(cuLibraryLoadFromFile)
REFUSED(cuLibraryUnload)
REFUSED(cuLibraryGetKernel)
REFUSED(cuKernelGetAttribute)
REFUSED(cuKernelSetAttribute)
REFUSED(cuLaunchKernel)
REFUSED(cuLaunchKernelEx)
REFUSED(cuLaunchCooperativeKernel)
REFUSED(cuOccupancyMaxPotentialClusterSize)
REFUSED(cuLinkCreate)
REFUSED(cuLinkAddData)
REFUSED(cuLinkComplete)
REFUSED(cuLinkDestroy)
