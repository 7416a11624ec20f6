#include "comm/planned_communicator.h"

#include <cstring>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {
constexpr std::size_t kNames = 4096;
}

std::vector<std::string> planned_hosts(int world, int ranks_per_host) {
  PLUMB_CHECK(world >= 1 && ranks_per_host >= 1, "{} ranks, {} a host", world, ranks_per_host);
  std::vector<std::string> hosts;
  for (int rank = 0; rank < world; ++rank) hosts.push_back(fmt::format("host-{}", rank / ranks_per_host));
  return hosts;
}

PlannedCommunicator::PlannedCommunicator(int rank, std::vector<std::string> hosts, bool rounds)
    : rounds_(rounds), names_(kNames) {
  set_ranks(rank, std::move(hosts));
}

void PlannedCommunicator::barrier(std::string_view name) {
  const ObservedCall call(observer(), "barrier", name, 0);
}

void PlannedCommunicator::reserve(int requests) {
  PLUMB_CHECK(requests >= 1, "at least 1 request must be reserved, got {}", requests);
}

bool PlannedCommunicator::poll(Request&) { return true; }

void PlannedCommunicator::wait(Request& request) {
  if (request.ticket == 0) return;
  const ObservedWait waiting(observer(), names_[request.ticket % kNames].view());
  request = {};
}

Communicator::Request PlannedCommunicator::start(std::string_view name) {
  names_[next_ % kNames] = CollectiveName(name);
  return {next_++};
}

void PlannedCommunicator::do_all_reduce(std::string_view, const Tensor&, ReduceOp) {}
void PlannedCommunicator::do_broadcast(std::string_view, const Tensor&, int) {}

void PlannedCommunicator::do_all_gather(std::string_view, const Tensor& send, const Tensor& receive) {
  for (int rank = 0; rank < world(); ++rank)
    std::memcpy(static_cast<char*>(receive.data) + static_cast<std::size_t>(rank) * send.bytes(), send.data,
                send.bytes());
}

void PlannedCommunicator::do_reduce_scatter(std::string_view, const Tensor& send, const Tensor& receive) {
  const auto* own = static_cast<const char*>(send.data) + static_cast<std::size_t>(rank()) * receive.bytes();
  std::memcpy(receive.data, own, receive.bytes());
}

Communicator::Request PlannedCommunicator::do_start_all_reduce(std::string_view name, const Tensor&) {
  return start(name);
}
Communicator::Request PlannedCommunicator::do_start_rounded_all_reduce(std::string_view name, const Tensor&) {
  return start(name);
}
Communicator::Request PlannedCommunicator::do_start_reduce_scatter(std::string_view name, const Tensor&) {
  return start(name);
}
Communicator::Request PlannedCommunicator::do_start_all_gather(std::string_view name, const Tensor&) {
  return start(name);
}

}  // namespace plumb
