/* A libcuda.so.1 that says "driver 13.0, no device": cuDNN compiles plans for a described device and, finding no
   device here, loads none of them. For the test of plans alone, on its LD_LIBRARY_PATH; never installed. */
#define EXPORTED __attribute__((visibility("default"))) int

enum { kSuccess = 0, kNoDevice = 100, kDriverVersion = 13000 };

EXPORTED plumb_null_driver = 1; /* the test looks for it: is this the driver that was loaded? */

EXPORTED cuInit(unsigned flags) {
  (void)flags;
  return kNoDevice;
}
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

/* cuDNN wants these to exist before it does anything; none is called without a device. */
#define REFUSED(name) \
  EXPORTED name(void) { return kNoDevice; }
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
