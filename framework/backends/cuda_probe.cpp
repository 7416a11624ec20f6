#include "backends/cuda_probe.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace plumb {
namespace {

// The driver API's own names and types, of which three functions are enough.
using Result = int;
constexpr Result kSuccess = 0;
constexpr Result kNoDevice = 100;

template <class Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

CudaProbe ask_driver() {
  CudaProbe probe;
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    probe.reason = "there is no NVIDIA driver (libcuda.so.1); install it (Debian: apt install nvidia-driver)";
    return probe;
  }
  auto* init = symbol<Result(unsigned)>(driver, "cuInit");
  auto* version = symbol<Result(int*)>(driver, "cuDriverGetVersion");
  auto* count = symbol<Result(int*)>(driver, "cuDeviceGetCount");
  if (init == nullptr || version == nullptr || count == nullptr) {
    probe.reason = "libcuda.so.1 is no NVIDIA driver: it lacks cuInit; look at LD_LIBRARY_PATH";
    return probe;
  }
  version(&probe.driver_version);
  const Result started = init(0);
  if (started == kNoDevice ||
      (started == kSuccess && count(&probe.devices) == kSuccess && probe.devices == 0)) {
    probe.reason =
        "the NVIDIA driver is there but shows no GPU; look at `nvidia-smi`, at CUDA_VISIBLE_DEVICES and, in "
        "a "
        "container, at --gpus";
  } else if (started != kSuccess) {
    probe.reason =
        fmt::format("the NVIDIA driver does not start (cuInit: error {}); look at `nvidia-smi`", started);
  }
  return probe;
}

}  // namespace

const CudaProbe& probe_cuda() {
  static const CudaProbe probe = ask_driver();
  return probe;
}

}  // namespace plumb
