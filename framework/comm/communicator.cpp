#include "comm/communicator.h"

#include <algorithm>

#include "core/error.h"

namespace plumb {

bool Communicator::takes(DType dtype) const {
  return dtype == DType::Float64 || dtype == DType::Float32 || dtype == DType::Int64 || dtype == DType::Int32;
}

void Communicator::check_tensor(std::string_view collective, const Tensor& tensor) const {
  PLUMB_CHECK(takes(tensor.dtype), "collective '{}': {} is not reduced or moved; convert to fp32 first",
              collective, name_of(tensor.dtype));
  PLUMB_CHECK(tensor.contiguous(), "collective '{}': the tensor {} is a strided view, but must be contiguous",
              collective, to_string(tensor.shape));
  PLUMB_CHECK(tensor.elements() == 0 || tensor.data != nullptr,
              "collective '{}': the tensor {} has no memory", collective, to_string(tensor.shape));
}

/// One side holds world times the elements of the other.
void Communicator::check_pair(std::string_view collective, const Tensor& part, const Tensor& whole) const {
  check_tensor(collective, part);
  check_tensor(collective, whole);
  PLUMB_CHECK(part.dtype == whole.dtype, "collective '{}': dtypes differ: {} and {}", collective,
              name_of(part.dtype), name_of(whole.dtype));
  PLUMB_CHECK(whole.elements() == part.elements() * world(),
              "collective '{}': {} ranks with {} elements each do not make {}", collective, world(),
              part.elements(), to_string(whole.shape));
}

/// Divides evenly into a row for each rank.
void Communicator::check_rows(std::string_view collective, const Tensor& tensor) const {
  check_tensor(collective, tensor);
  PLUMB_CHECK(tensor.elements() % world() == 0, "collective '{}': {} has no row for each of {} ranks",
              collective, to_string(tensor.shape), world());
}

int Communicator::local_rank() const {
  const auto self = hosts_.begin() + rank_;
  return static_cast<int>(std::count(hosts_.begin(), self, *self));
}

int Communicator::local_size() const {
  return static_cast<int>(std::count(hosts_.begin(), hosts_.end(), hosts_[static_cast<std::size_t>(rank_)]));
}

void Communicator::set_deadline(double seconds) {
  PLUMB_CHECK(seconds > 0, "a deadline must be positive, got {} s", seconds);
  deadline_ = seconds;
}

void Communicator::set_ranks(int rank, std::vector<std::string> hosts) {
  PLUMB_CHECK(rank >= 0 && rank < static_cast<int>(hosts.size()), "rank {} of {}", rank, hosts.size());
  rank_ = rank;
  hosts_ = std::move(hosts);
}

bool Communicator::SpanCount::take(std::size_t* place) {
  taken = std::max(taken, ended - std::min(ended, kTimedSpans));
  if (taken == ended) return false;
  *place = taken++ % kTimedSpans;
  return true;
}

void Communicator::end_wait_clock() {
  waited_[spans_.ended++ % kTimedSpans] = std::chrono::duration<double>(Clock::now() - wait_began_).count();
}

double Communicator::take_waited_seconds() {
  std::size_t place = 0;
  return spans_.take(&place) ? waited_[place] : 0;
}

void Communicator::all_reduce(std::string_view name, Tensor tensor, ReduceOp op) {
  check_tensor(name, tensor);
  const ObservedCall call(observer_, "all_reduce", name, tensor.bytes());
  if (tensor.elements() > 0) do_all_reduce(name, tensor, op);
}

void Communicator::all_gather(std::string_view name, Tensor send, Tensor receive) {
  check_pair(name, send, receive);
  const ObservedCall call(observer_, "all_gather", name, receive.bytes());
  if (send.elements() > 0) do_all_gather(name, send, receive);
}

void Communicator::reduce_scatter(std::string_view name, Tensor send, Tensor receive) {
  check_pair(name, receive, send);
  const ObservedCall call(observer_, "reduce_scatter", name, send.bytes());
  if (receive.elements() > 0) do_reduce_scatter(name, send, receive);
}

void Communicator::broadcast(std::string_view name, Tensor tensor, int root) {
  check_tensor(name, tensor);
  PLUMB_CHECK(root >= 0 && root < world(), "collective '{}': root {} of {} ranks", name, root, world());
  const ObservedCall call(observer_, "broadcast", name, tensor.bytes());
  if (tensor.elements() > 0) do_broadcast(name, tensor, root);
}

Communicator::Request Communicator::start_all_reduce(std::string_view name, Tensor tensor) {
  check_tensor(name, tensor);
  const ObservedCall call(observer_, "start_all_reduce", name, tensor.bytes());
  return tensor.elements() > 0 ? do_start_all_reduce(name, tensor) : Request{};
}

Communicator::Request Communicator::start_rounded_all_reduce(std::string_view name, Tensor tensor) {
  check_tensor(name, tensor);
  PLUMB_CHECK(tensor.dtype == DType::Float32, "collective '{}': sums of fp32 are rounded to bf16, not of {}",
              name, name_of(tensor.dtype));
  const ObservedCall call(observer_, "start_rounded_all_reduce", name, tensor.bytes());
  return tensor.elements() > 0 && world() > 1 ? do_start_rounded_all_reduce(name, tensor) : Request{};
}

Communicator::Request Communicator::do_start_rounded_all_reduce(std::string_view name, const Tensor&) {
  fail("collective '{}': this communicator does not round", name);
}

std::string Communicator::choose_sum_path(const SumPath&) { return ""; }
std::shared_ptr<void> Communicator::allocate(std::string_view, std::size_t) { return nullptr; }

Communicator::Request Communicator::start_reduce_scatter(std::string_view name, Tensor tensor) {
  check_rows(name, tensor);
  const ObservedCall call(observer_, "start_reduce_scatter", name, tensor.bytes());
  return tensor.elements() > 0 ? do_start_reduce_scatter(name, tensor) : Request{};
}

Communicator::Request Communicator::start_all_gather(std::string_view name, Tensor tensor) {
  check_rows(name, tensor);
  const ObservedCall call(observer_, "start_all_gather", name, tensor.bytes());
  return tensor.elements() > 0 ? do_start_all_gather(name, tensor) : Request{};
}

Communicator::Request Communicator::do_start_reduce_scatter(std::string_view name, const Tensor& tensor) {
  return do_start_all_reduce(name, tensor);
}

Communicator::Request Communicator::do_start_all_gather(std::string_view name, const Tensor& tensor) {
  const Tensor rows = tensor.reshaped({world(), tensor.elements() / world()});
  for (int root = 0; root < world(); ++root) do_broadcast(name, rows.row_range(root, 1), root);
  return {};
}

}  // namespace plumb
