#include "backends/cuda/communication_memory.h"

#include <algorithm>

#include "backends/cuda/check.h"
#include "backends/cuda/nccl_check.h"

namespace plumb::cuda {

Buffer CommunicationMemory::allocate(std::size_t bytes, const WaitWatch& watch) {
  void* data = nullptr;
  PLUMB_NCCL(ncclMemAlloc(&data, std::max<std::size_t>(bytes, 1)));
  ranges_->push_back({data, bytes});
  Buffer buffer(data, bytes, [ranges = ranges_](void* memory, std::size_t) {
    std::erase_if(*ranges, [memory](const Range& range) { return range.data == memory; });
    static_cast<void>(ncclMemFree(memory));
  });
  CudaStream stream(watch);
  PLUMB_CUDA(cudaMemsetAsync(data, 0, bytes, stream.handle()));
  stream.synchronize();
  return buffer;
}

Registrations::Registrations(ncclComm_t communicator, const std::vector<CommunicationMemory::Range>& ranges)
    : communicator_(communicator) {
  for (const CommunicationMemory::Range& range : ranges) {
    void* handle = nullptr;
    if (range.bytes > 0) PLUMB_NCCL(ncclCommRegister(communicator_, range.data, range.bytes, &handle));
    // NCCL gives no handle where it does without registration.
    if (handle != nullptr) handles_.push_back(handle);
  }
}

void Registrations::end() {
  for (void* handle : handles_) PLUMB_NCCL(ncclCommDeregister(communicator_, handle));
  handles_.clear();
}

}  // namespace plumb::cuda
