// NcclHandle: an ncclComm_t from its birth, which all ranks share, to its end.
#pragma once

#include <nccl.h>

#include "comm/communicator.h"

namespace plumb::cuda {

/// Non-blocking: no call on it, but for abort(), makes the host wait for other ranks.
class NcclHandle {
 public:
  /// All ranks of `host` at the same time. Error after host.deadline() seconds.
  explicit NcclHandle(Communicator& host);
  /// Aborts what finish() has not ended.
  ~NcclHandle();
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  ncclComm_t get() const { return communicator_; }
  /// ncclSuccess, ncclInProgress while a call is still being carried out, or the error that has come up.
  ncclResult_t state() const;
  /// Ends it when all ranks' operations are through; they must call it too.
  void finish(double deadline);
  /// Kernels of collectives that never end are told to end, and the communicator is gone. False when NCCL did
  /// not come back within some seconds; then the device may stay blocked.
  bool abort();

 private:
  void wait_until_ready(const char* what, double deadline);

  ncclComm_t communicator_ = nullptr;
};

}  // namespace plumb::cuda
