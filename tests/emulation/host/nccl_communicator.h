// Communicators of the emulated NCCL.
#pragma once

#include <nccl.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/nccl_rendezvous.h"

/// Lives as long as the process, so that a handle which is used after ncclCommDestroy is recognised.
struct ncclComm {
  enum class State { Joining, Ready, Finalized, Failed, Aborted, Destroyed };

  int rank = 0, size = 1, device = 0, channel = 0;
  bool blocking = true;
  State state = State::Joining;
  std::vector<plumb::emulation::Member> members;  ///< by rank
  std::unique_ptr<plumb::emulation::Rendezvous> rendezvous;
  std::chrono::steady_clock::time_point began;

  ncclResult_t error = ncclSuccess;  ///< what ncclCommGetAsyncError gives once nothing is in progress
  std::string error_text;

  // Collectives run in the order in which they were put on streams: numbers issued, and finished so far.
  std::uint64_t issued = 0, finished = 0;
  std::map<std::uint64_t, cudaStream_t> streams;  ///< of those that have not finished

  /// Of a non-blocking communicator: launches that ncclCommGetAsyncError carries out (nccl_group.h).
  std::vector<std::function<ncclResult_t()>> deferred;
  bool deferred_was_seen = false;

  bool is_over() const {
    return state == State::Aborted || state == State::Destroyed || state == State::Failed;
  }
};

namespace plumb::emulation {

/// Remembers the text for ncclGetLastError, of the communicator too where there is one; returns `result`.
ncclResult_t refuse(ncclResult_t result, std::string text, ncclComm* communicator = nullptr);

/// ncclSuccess when the communicator can be used now.
ncclResult_t check_ready(const char* function, ncclComm* communicator);

/// PLUMB_EMULATION_NCCL_TIMEOUT, 60: how long other ranks are waited for.
double nccl_timeout();
void set_nccl_timeout(double seconds);

}  // namespace plumb::emulation
