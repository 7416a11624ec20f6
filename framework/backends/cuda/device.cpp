#include "backends/cuda/device.h"

#include <cstdlib>

#include "backends/cuda/check.h"
#include "backends/cuda/launch_rules.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

cudaDeviceProp properties() {
  int device = 0;
  PLUMB_CUDA(cudaGetDevice(&device));
  cudaDeviceProp properties{};
  PLUMB_CUDA(cudaGetDeviceProperties(&properties, device));
  return properties;
}

/// "0000:3b:00.0 GPU-8f2c...": address on the bus of this host, and the number that no other device has.
std::string identity_of(const cudaDeviceProp& device) {
  std::string text =
      fmt::format("{:04x}:{:02x}:{:02x}.0 GPU-", device.pciDomainID, device.pciBusID, device.pciDeviceID);
  for (const char byte : device.uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

}  // namespace

void bind_device(int local_rank, int local_size) {
  int devices = 0;
  PLUMB_CUDA(cudaGetDeviceCount(&devices));
  if (local_size > devices && devices != 1) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    fail_input(
        "{} ranks on host {} but {} GPU{} ({}): two ranks cannot share one; start at most {} rank{} per host",
        local_size, process_identity().host, devices, devices == 1 ? "" : "s",
        visible == nullptr ? "CUDA_VISIBLE_DEVICES is not set"
                           : fmt::format("CUDA_VISIBLE_DEVICES={}", visible),
        devices, devices == 1 ? "" : "s");
  }
  PLUMB_CUDA(cudaSetDevice(devices == 1 ? 0 : local_rank));
}

DeviceFacts device_facts() {
  const cudaDeviceProp device = properties();
  DeviceFacts facts{fmt::format("{}, {:.0f} GiB", device.name,
                                static_cast<double>(device.totalGlobalMem) / (1024.0 * 1024 * 1024)),
                    {},
                    identity_of(device)};
  facts.features.push_back(fmt::format("sm_{}{}", device.major, device.minor));
  facts.features.push_back(fmt::format("{} multiprocessors", device.multiProcessorCount));
  int runtime = 0;
  PLUMB_CUDA(cudaRuntimeGetVersion(&runtime));
  facts.features.push_back(fmt::format("CUDA {}.{}", runtime / 1000, runtime % 1000 / 10));
  return facts;
}

std::size_t shared_bytes_of_block() {
  static const std::size_t bytes = properties().sharedMemPerBlockOptin;
  return bytes;
}

}  // namespace plumb::cuda
