#include "host/nccl_group.h"

#include <fmt/format.h>

#include <utility>

namespace plumb::emulation {
namespace {

struct Launch {
  ncclComm* communicator;
  std::function<ncclResult_t()> put;
};

struct Group {
  int depth = 0;
  ncclResult_t result = ncclSuccess;
  std::vector<Launch> launches;
};

Group& group() {
  static Group open;
  return open;
}

/// Puts everything on its streams, or nothing when a call of the group was refused.
ncclResult_t close_group() {
  const Group closed = std::exchange(group(), Group{});
  if (closed.result != ncclSuccess) return closed.result;
  ncclResult_t result = ncclSuccess;
  for (const Launch& launch : closed.launches) {
    if (launch.communicator->blocking) {
      const ncclResult_t one = launch.put();
      if (result == ncclSuccess) result = one;
    } else {
      launch.communicator->deferred.push_back(launch.put);
      launch.communicator->deferred_was_seen = false;
      result = ncclInProgress;
    }
  }
  return result;
}

}  // namespace

bool in_group() { return group().depth > 0; }

ncclResult_t issue(const char* function, ncclComm& communicator, std::function<ncclResult_t()> put) {
  Group& open = group();
  if (!open.launches.empty() && open.launches.front().communicator->blocking != communicator.blocking)
    return spoil_group(
        refuse(ncclInvalidArgument,
               fmt::format("{}: blocking and non-blocking communicators in one group", function)));
  open.launches.push_back({&communicator, std::move(put)});
  return open.depth > 0 ? ncclSuccess : close_group();
}

ncclResult_t spoil_group(ncclResult_t result) {
  if (in_group() && group().result == ncclSuccess) group().result = result;
  return result;
}

void carry_out_deferred(ncclComm& communicator) {
  // The first look finds the group still in progress.
  if (communicator.deferred.empty() || !std::exchange(communicator.deferred_was_seen, true)) return;
  for (const auto& put : std::exchange(communicator.deferred, {})) {
    const ncclResult_t result = put();
    if (communicator.error == ncclSuccess) communicator.error = result;
  }
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

ncclResult_t ncclGroupStart() {
  ++group().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group().depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd: not in a group call.");
  return --group().depth > 0 ? ncclSuccess : close_group();
}

}  // extern "C"
