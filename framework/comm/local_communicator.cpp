#include "comm/local_communicator.h"

#include <cstring>
#include <utility>

#include "core/error.h"

namespace plumb {

LocalCommunicator::LocalCommunicator(std::string host) { set_ranks(0, {std::move(host)}); }

void LocalCommunicator::barrier(std::string_view) {}
void LocalCommunicator::reserve(int requests) {
  PLUMB_CHECK(requests >= 1, "at least 1 request must be reserved, got {}", requests);
}
bool LocalCommunicator::poll(Request&) { return true; }
void LocalCommunicator::wait(Request&) {}
void LocalCommunicator::progress() {}

void LocalCommunicator::do_all_reduce(std::string_view, const Tensor&, ReduceOp) {}
void LocalCommunicator::do_broadcast(std::string_view, const Tensor&, int) {}
Communicator::Request LocalCommunicator::do_start_all_reduce(std::string_view, const Tensor&) { return {}; }

void LocalCommunicator::do_all_gather(std::string_view, const Tensor& send, const Tensor& receive) {
  std::memcpy(receive.data, send.data, send.bytes());
}

void LocalCommunicator::do_reduce_scatter(std::string_view, const Tensor& send, const Tensor& receive) {
  std::memcpy(receive.data, send.data, send.bytes());
}

}  // namespace plumb
