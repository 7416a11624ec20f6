// Devices of the emulated CUDA runtime: compute capability 9.0, 16 GiB each, none of a real GPU's speed.
#include "host/device_properties.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "host/api_call.h"
#include "host/device_memory.h"
#include "host/environment.h"
#include "host/errors.h"
#include "host/streams.h"
#include "shared_limit.h"

namespace plumb::emulation {
namespace {

constexpr int kMultiprocessors = 132;
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kRegisters = 65536;
constexpr int kL2CacheBytes = 50 * 1024 * 1024;

/// As CUDA_VISIBLE_DEVICES selects them: numbers in order, and nothing from the first invalid one on (CUDA
/// programming guide, "CUDA Environment Variables").
std::vector<int> find_devices() {
  const auto present = static_cast<int>(number_setting("PLUMB_EMULATION_DEVICES", 8, 0));
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::vector<int> devices;
  if (visible == nullptr) {
    for (int device = 0; device < present; ++device) devices.push_back(device);
    return devices;
  }
  std::string_view rest = visible;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    int device = -1;
    const auto [stopped, error] = std::from_chars(item.data(), item.data() + item.size(), device);
    if (error != std::errc() || stopped != item.data() + item.size() || device < 0 || device >= present)
      break;
    devices.push_back(device);
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
  }
  return devices;
}

const std::vector<int>& devices() {
  static const std::vector<int> found = find_devices();
  return found;
}

int current = 0;

cudaError_t check_device(const char* function, int device) {
  if (device >= 0 && device < static_cast<int>(devices().size())) return cudaSuccess;
  return refuse(cudaErrorInvalidDevice,
                fmt::format("{}: device {} of {}", function, device, devices().size()));
}

void fill_limits(cudaDeviceProp& properties) {
  properties.sharedMemPerBlock = kSharedBytesPerBlock;
  properties.sharedMemPerBlockOptin = shared_bytes_limit();
  properties.reservedSharedMemPerBlock = 1024;
  properties.sharedMemPerMultiprocessor = shared_bytes_limit() + 1024;
  properties.regsPerBlock = kRegisters;
  properties.regsPerMultiprocessor = kRegisters;
  properties.warpSize = 32;
  properties.maxThreadsPerBlock = 1024;
  properties.maxThreadsDim[0] = properties.maxThreadsDim[1] = 1024;
  properties.maxThreadsDim[2] = 64;
  properties.maxGridSize[0] = 2147483647;
  properties.maxGridSize[1] = properties.maxGridSize[2] = 65535;
  properties.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  properties.maxBlocksPerMultiProcessor = 32;
  properties.multiProcessorCount = kMultiprocessors;
  properties.l2CacheSize = kL2CacheBytes;
}

/// A number that no device of this or another host has.
void set_uuid(cudaDeviceProp& properties, int device) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::uint64_t words[2] = {hash_text(host.data()), static_cast<std::uint64_t>(device)};
  static_assert(sizeof words == sizeof properties.uuid);
  std::memcpy(&properties.uuid, words, sizeof words);
}

/// Attributes beside those that cudaDeviceProp has.
int attribute_value(cudaDeviceAttr attribute, const cudaDeviceProp& properties) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return properties.maxThreadsPerBlock;
    case cudaDevAttrWarpSize:
      return properties.warpSize;
    case cudaDevAttrMultiProcessorCount:
      return properties.multiProcessorCount;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return static_cast<int>(properties.sharedMemPerBlock);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(properties.sharedMemPerBlockOptin);
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return static_cast<int>(properties.sharedMemPerMultiprocessor);
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return properties.maxThreadsPerMultiProcessor;
    case cudaDevAttrMaxRegistersPerBlock:
      return properties.regsPerBlock;
    case cudaDevAttrComputeCapabilityMajor:
      return properties.major;
    case cudaDevAttrComputeCapabilityMinor:
      return properties.minor;
    case cudaDevAttrL2CacheSize:
      return properties.l2CacheSize;
    case cudaDevAttrPciBusId:
      return properties.pciBusID;
    case cudaDevAttrPciDeviceId:
      return properties.pciDeviceID;
    case cudaDevAttrPciDomainId:
      return properties.pciDomainID;
    case cudaDevAttrComputeMode:
      return cudaComputeModeDefault;
    case cudaDevAttrMemoryClockRate:
      return 2619000;  // kHz
    case cudaDevAttrGlobalMemoryBusWidth:
      return 5120;  // bits
    case cudaDevAttrClockRate:
      return 1980000;  // kHz
    case cudaDevAttrMemoryPoolsSupported:
      return 0;
    default:
      fail("cudaDeviceGetAttribute: attribute {} is not modelled by the emulation",
           static_cast<int>(attribute));
  }
}

}  // namespace

int current_device() { return current; }
int physical_device(int device) { return devices().at(static_cast<std::size_t>(device)); }

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(devices().size());
  return *count > 0 ? cudaSuccess
                    : refuse(cudaErrorNoDevice, "PLUMB_EMULATION_DEVICES, CUDA_VISIBLE_DEVICES");
}

cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t code = enter("cudaSetDevice", WhileCapturing::Allowed)) return code;
  if (const cudaError_t code = check_device("cudaSetDevice", device)) return code;
  current = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t code = check_device("cudaGetDeviceProperties", device)) return code;
  *properties = {};
  const std::string name = "emulated GPU";
  std::memcpy(properties->name, name.c_str(), name.size() + 1);
  properties->major = 9;
  properties->minor = 0;
  properties->totalGlobalMem = device_memory().capacity();
  fill_limits(*properties);
  properties->pciBusID = 1 + physical_device(device);
  set_uuid(*properties, physical_device(device));
  properties->unifiedAddressing = 1;
  properties->asyncEngineCount = 3;
  properties->concurrentKernels = 1;
  properties->streamPrioritiesSupported = 1;
  properties->hostRegisterSupported = 1;
  properties->memoryBusWidth = 5120;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties{};
  if (const cudaError_t code = cudaGetDeviceProperties(&properties, device)) return code;
  *value = attribute_value(attribute, properties);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  if (const cudaError_t code = check_device("cudaDeviceGetPCIBusId", device)) return code;
  const std::string id = fmt::format("0000:{:02X}:00.0", 1 + physical_device(device));
  if (text == nullptr || length <= static_cast<int>(id.size()))
    return refuse(cudaErrorInvalidValue, "cudaDeviceGetPCIBusId: 13 characters are needed");
  std::memcpy(text, id.c_str(), id.size() + 1);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* left, size_t* total) {
  if (const cudaError_t code = enter("cudaMemGetInfo", WhileCapturing::Allowed)) return code;
  *left = device_memory().left(current);
  *total = device_memory().capacity();
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

}  // extern "C"
