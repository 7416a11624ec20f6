#include "host/host_memory.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>

#include "core/error.h"
#include "host/api_call.h"
#include "host/device_memory.h"
#include "host/errors.h"

namespace plumb::emulation {
namespace {

struct Pinned {
  std::size_t bytes = 0;
  bool owned = false;  ///< from cudaMallocHost; otherwise registered
};

std::map<const char*, Pinned>& pinned() {
  static std::map<const char*, Pinned> ranges;
  return ranges;
}

bool overlaps_pinned(const char* begin, std::size_t bytes) {
  const auto after = pinned().lower_bound(begin + bytes);
  if (after == pinned().begin()) return false;
  const auto& [start, range] = *std::prev(after);
  return start + range.bytes > begin;
}

cudaError_t allocate_pinned(const char* function, void** data, std::size_t bytes) {
  if (const cudaError_t code = enter(function, WhileCapturing::Forbidden)) return code;
  if (data == nullptr || bytes == 0)
    return refuse(cudaErrorInvalidValue, fmt::format("{}: no bytes", function));
  constexpr std::size_t kPage = 4096;
  *data = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  if (*data == nullptr)
    return refuse(cudaErrorMemoryAllocation, fmt::format("{}: {} bytes", function, bytes));
  std::memset(*data, 0xff, bytes);
  pinned()[static_cast<const char*>(*data)] = {bytes, true};
  return cudaSuccess;
}

}  // namespace

HostRange host_range(const void* data, std::size_t bytes) {
  const char* begin = static_cast<const char*>(data);
  const auto after = pinned().upper_bound(begin);
  if (after != pinned().begin()) {
    const auto& [start, range] = *std::prev(after);
    if (begin < start + range.bytes)
      return begin + bytes <= start + range.bytes ? HostRange::Pinned : HostRange::Straddles;
  }
  return overlaps_pinned(begin, bytes) ? HostRange::Straddles : HostRange::Pageable;
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaMallocHost(void** data, size_t bytes) {
  return allocate_pinned("cudaMallocHost", data, bytes);
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags) {
  if ((flags & ~(cudaHostAllocPortable | cudaHostAllocWriteCombined)) != 0)
    plumb::fail("cudaHostAlloc: flags {:#x} are not modelled by the emulation", flags);
  return allocate_pinned("cudaHostAlloc", data, bytes);
}

cudaError_t cudaFreeHost(void* data) {
  if (const cudaError_t code = enter("cudaFreeHost", WhileCapturing::Forbidden)) return code;
  if (data == nullptr) return cudaSuccess;
  const auto found = pinned().find(static_cast<const char*>(data));
  if (found == pinned().end() || !found->second.owned)
    return refuse(cudaErrorInvalidValue, "cudaFreeHost: not from cudaMallocHost or cudaHostAlloc");
  pinned().erase(found);
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaHostRegister(void* data, size_t bytes, unsigned flags) {
  if (const cudaError_t code = enter("cudaHostRegister", WhileCapturing::Forbidden)) return code;
  if ((flags & ~static_cast<unsigned>(cudaHostRegisterPortable)) != 0)
    plumb::fail("cudaHostRegister: flags {:#x} are not modelled by the emulation", flags);
  if (data == nullptr || bytes == 0 || device_memory().covers(data))
    return refuse(cudaErrorInvalidValue, "cudaHostRegister: no host memory");
  if (overlaps_pinned(static_cast<const char*>(data), bytes))
    return refuse(cudaErrorHostMemoryAlreadyRegistered, "cudaHostRegister");
  pinned()[static_cast<const char*>(data)] = {bytes, false};
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* data) {
  if (const cudaError_t code = enter("cudaHostUnregister", WhileCapturing::Forbidden)) return code;
  const auto found = pinned().find(static_cast<const char*>(data));
  if (found == pinned().end() || found->second.owned)
    return refuse(cudaErrorHostMemoryNotRegistered, "cudaHostUnregister");
  pinned().erase(found);
  return cudaSuccess;
}

}  // extern "C"
