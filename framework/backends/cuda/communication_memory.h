// CommunicationMemory: device memory that NCCL may reach without a copy of its own.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "backend/buffer.h"
#include "backends/cuda/stream.h"

namespace plumb::cuda {

/// Allocations of ncclMemAlloc, which a communicator registers when it is made (the user guide's "user buffer
/// registration": all ranks pass registered memory, at the same offset from the start of the allocation).
class CommunicationMemory {
 public:
  struct Range {
    void* data;
    std::size_t bytes;
  };

  /// Zero-filled. The buffer may outlive this object.
  Buffer allocate(std::size_t bytes, const WaitWatch& watch);
  /// Of the buffers that still exist, in the order of their allocation.
  const std::vector<Range>& ranges() const { return *ranges_; }

 private:
  std::shared_ptr<std::vector<Range>> ranges_ = std::make_shared<std::vector<Range>>();
};

/// Registers ranges with a communicator while it exists.
class Registrations {
 public:
  Registrations(ncclComm_t communicator, const std::vector<CommunicationMemory::Range>& ranges);
  Registrations(const Registrations&) = delete;
  Registrations& operator=(const Registrations&) = delete;
  /// Not for a communicator that was aborted.
  void end();

 private:
  ncclComm_t communicator_;
  std::vector<void*> handles_;
};

}  // namespace plumb::cuda
