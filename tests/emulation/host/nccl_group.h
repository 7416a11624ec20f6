// When collectives are put on their streams: at once, at ncclGroupEnd, or, with a non-blocking communicator,
// by ncclCommGetAsyncError.
#pragma once

#include <functional>

#include "host/nccl_communicator.h"

namespace plumb::emulation {

bool in_group();

/// `put` puts one collective on its stream. A single call is a group of one. A non-blocking communicator
/// gives ncclInProgress for every group, and the collectives are on their streams only once
/// ncclCommGetAsyncError has said ncclSuccess: NCCL launches such groups from a thread of its own (group.cc).
ncclResult_t issue(const char* function, ncclComm& communicator, std::function<ncclResult_t()> put);
/// Lets the group that is open end with `result`; returns it.
ncclResult_t spoil_group(ncclResult_t result);

void carry_out_deferred(ncclComm& communicator);

}  // namespace plumb::emulation
