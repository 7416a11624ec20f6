// A collective of the emulated NCCL as a stream operation.
#pragma once

#include <nccl.h>

#include <cstdint>
#include <string>

#include "host/nccl_communicator.h"
#include "host/operation.h"

namespace plumb::emulation {

enum class CollectiveKind : std::int32_t { AllReduce, ReduceScatter, AllGather, Broadcast };

struct CollectiveCall {
  CollectiveKind kind;
  const void* send;
  void* receive;
  std::uint64_t count;  ///< as NCCL counts: elements of the smaller buffer
  ncclDataType_t type;
  ncclRedOp_t reduction = ncclSum;
  int root = -1;  ///< of a broadcast
};

/// Elements of the two buffers on this rank.
std::uint64_t send_count(const CollectiveCall& call, int size);
std::uint64_t receive_count(const CollectiveCall& call, int size);

/// What is wrong with buffers; empty when nothing is.
std::string buffer_fault(const CollectiveCall& call, const ncclComm& communicator);

/// Puts a number on the collective when it is put on a stream; it runs once all earlier ones of the
/// communicator have. First the ranks exchange what they are about to do, and differences are an Error that
/// says who issued what.
Recipe collective(ncclComm& communicator, const CollectiveCall& call);

}  // namespace plumb::emulation
