#include "backends/cuda/nccl_communicator.h"

#include <cstdio>
#include <exception>
#include <thread>

#include "backends/cuda/check.h"
#include "backends/cuda/library_check.h"
#include "backends/cuda/nccl_check.h"
#include "core/error.h"

// A call of NCCL's, as it is and as what messages say of it.
#define PLUMB_COLLECTIVE(kind, call) \
  Call{kind, #call, __LINE__}, [&](ncclComm_t communicator, cudaStream_t stream) { return call; }

namespace plumb::cuda {
namespace {

constexpr int kFirstRequests = 4;

ncclDataType_t nccl_type_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return ncclFloat64;
    case DType::Float32:
      return ncclFloat32;
    case DType::BFloat16:
      return ncclBfloat16;
    case DType::Int64:
      return ncclInt64;
    case DType::Int32:
      return ncclInt32;
    case DType::Float16:
      break;
  }
  fail("{} does not cross ranks", name_of(dtype));
}

std::size_t count_of(const Tensor& tensor) { return static_cast<std::size_t>(tensor.elements()); }

void* row_of(const Tensor& tensor, int row, std::size_t count) {
  return static_cast<char*>(tensor.data) + static_cast<std::size_t>(row) * count * size_of(tensor.dtype);
}

/// Whether the stream that recorded it has passed it.
bool has_passed(const CudaEvent& event) {
  const cudaError_t code = cudaEventQuery(event.handle());
  if (code == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());  // it is noted like an error, and is none
    return false;
  }
  PLUMB_CUDA(code);
  return true;
}

WaitWatch& unwatched(WaitWatch& watch) {
  PLUMB_CHECK(!watch, "a backend has one communicator at a time");
  return watch;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void nap() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

}  // namespace

NcclCommunicator::NcclCommunicator(Communicator& host, Stream& compute, const CommunicationMemory& memory,
                                   WaitWatch& watch)
    : host_(host),
      notes_(host.stall_notes()),
      compute_(compute),
      watch_(unwatched(watch)),
      stream_(watch),
      handle_(host),
      registrations_(handle_.get(), memory.ranges()),
      replay_(watch) {
  set_ranks(host.rank(), host.hosts());
  set_deadline(host.deadline());
  reserve(kFirstRequests);
  while (timed_.size() < kTimedSpans) timed_.push_back(std::make_unique<TimedSpan>(watch_));
  replay_.name = CollectiveName("all those of a recorded step");
  replay_.call = {"replay", "cudaGraphLaunch(...)", __LINE__};
  watch_ = [this](double host_waited) { look(host_waited); };
}

NcclCommunicator::~NcclCommunicator() {
  if (std::uncaught_exceptions() > 0) failed_ = true;
  try {
    if (!failed_) {
      stream_.synchronize();
      registrations_.end();
      handle_.finish(deadline());
    }
  } catch (const std::exception& error) {
    // Nothing can be thrown from here, and no other part of the program knows.
    std::fprintf(stderr, "while closing the device communicator: %s\n", error.what());
  }
  watch_ = nullptr;
}

void NcclCommunicator::reserve(int requests) {
  PLUMB_CHECK(requests >= 1, "at least 1 request must be reserved, got {}", requests);
  retire();
  PLUMB_CHECK(first_unfinished_ == next_, "requests can be reserved only while no operation is outstanding");
  while (queue_.size() < static_cast<std::size_t>(requests)) {
    queue_.push_back(std::make_unique<Operation>(watch_));
    recorded_.push_back(std::make_unique<Operation>(watch_));
  }
}

NcclCommunicator::Operation& NcclCommunicator::operation(std::uint64_t ticket) {
  const auto& ring = (ticket & kRecorded) != 0 ? recorded_ : queue_;
  return *ring[(ticket & ~kRecorded) % ring.size()];
}

bool NcclCommunicator::is_recording() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  PLUMB_CUDA(cudaStreamIsCapturing(handle_of(compute_), &status));
  return status != cudaStreamCaptureStatusNone;
}

bool NcclCommunicator::takes(DType dtype) const {
  return dtype == DType::BFloat16 || Communicator::takes(dtype);
}

void NcclCommunicator::begin_wait_clock() {
  if (!is_recording()) timed_[timed_count_.ended % kTimedSpans]->began.record(compute_);
}

void NcclCommunicator::end_wait_clock() {
  if (!is_recording()) timed_[timed_count_.ended++ % kTimedSpans]->ended.record(compute_);
}

double NcclCommunicator::take_waited_seconds() {
  std::size_t place = 0;
  if (!timed_count_.take(&place)) return 0;
  TimedSpan& span = *timed_[place];
  span.ended.synchronize();
  float milliseconds = 0;
  PLUMB_CUDA(cudaEventElapsedTime(&milliseconds, span.began.handle(), span.ended.handle()));
  return static_cast<double>(milliseconds) / 1000;
}

void NcclCommunicator::do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) {
  PLUMB_CHECK(
      op == ReduceOp::Sum,
      "collective '{}': over device memory only sums are taken, because NCCL's maximum and minimum lose "
      "a NaN; use the host's communicator",
      name);
  run(do_start_all_reduce(name, tensor));
}

Communicator::Request NcclCommunicator::do_start_all_reduce(std::string_view name, const Tensor& tensor) {
  void* data = tensor.data;
  const std::size_t count = count_of(tensor);
  const ncclDataType_t type = nccl_type_of(tensor.dtype);
  return start(name, PLUMB_COLLECTIVE("all_reduce",
                                      ncclAllReduce(data, data, count, type, ncclSum, communicator, stream)));
}

void NcclCommunicator::do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) {
  const std::size_t count = count_of(send);
  const ncclDataType_t type = nccl_type_of(send.dtype);
  run(start(name, PLUMB_COLLECTIVE("all_gather", ncclAllGather(send.data, receive.data, count, type,
                                                               communicator, stream))));
}

void NcclCommunicator::do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) {
  const std::size_t count = count_of(receive);
  const ncclDataType_t type = nccl_type_of(send.dtype);
  run(start(name, PLUMB_COLLECTIVE("reduce_scatter", ncclReduceScatter(send.data, receive.data, count, type,
                                                                       ncclSum, communicator, stream))));
}

// NCCL works in place where the one side is the rank's row of the other.
Communicator::Request NcclCommunicator::do_start_reduce_scatter(std::string_view name, const Tensor& tensor) {
  const std::size_t count = count_of(tensor) / static_cast<std::size_t>(world());
  const ncclDataType_t type = nccl_type_of(tensor.dtype);
  void* row = row_of(tensor, rank(), count);
  return start(name, PLUMB_COLLECTIVE("reduce_scatter", ncclReduceScatter(tensor.data, row, count, type,
                                                                          ncclSum, communicator, stream)));
}

Communicator::Request NcclCommunicator::do_start_all_gather(std::string_view name, const Tensor& tensor) {
  const std::size_t count = count_of(tensor) / static_cast<std::size_t>(world());
  const ncclDataType_t type = nccl_type_of(tensor.dtype);
  void* row = row_of(tensor, rank(), count);
  return start(name, PLUMB_COLLECTIVE("all_gather",
                                      ncclAllGather(row, tensor.data, count, type, communicator, stream)));
}

void NcclCommunicator::do_broadcast(std::string_view name, const Tensor& tensor, int root) {
  void* data = tensor.data;
  const std::size_t count = count_of(tensor);
  const ncclDataType_t type = nccl_type_of(tensor.dtype);
  run(start(name, PLUMB_COLLECTIVE("broadcast",
                                   ncclBroadcast(data, data, count, type, root, communicator, stream))));
}

template <class Issue>
Communicator::Request NcclCommunicator::start(std::string_view name, const Call& call, const Issue& issue) {
  PLUMB_CHECK(!failed_, "collective '{}' after the communicator has failed", name);
  const bool recorded = is_recording();
  // Only while nothing is recorded may be asked what has finished.
  if (!recorded && next_ - first_unfinished_ == queue_.size()) take_oldest_slot();
  const Request request{recorded ? kRecorded | next_recorded_++ : next_};
  Operation& operation = this->operation(request.ticket);
  operation.name = CollectiveName(name);
  operation.number = notes_.next_number();
  operation.call = call;
  operation.running = false;
  operation.ready.record(compute_);
  operation.ready.wait(stream_);
  const ncclResult_t code = issue(handle_.get(), stream_.handle());
  if (code != ncclSuccess && code != ncclInProgress) give_up(operation, nccl_text(code));
  settle(operation);
  operation.done.record(stream_);
  if (!recorded) ++next_;
  return request;
}

/// Every reserved request is in use: waits, on the host, until the oldest one is not.
void NcclCommunicator::take_oldest_slot() {
  const std::uint64_t oldest = first_unfinished_;
  for (look_at_oldest(); first_unfinished_ == oldest; look_at_oldest()) nap();
}

/// A call on a non-blocking communicator may return before it has put anything on the stream, for example
/// while ranks still connect to each other; only then may the event behind it be recorded and the next call
/// be made.
void NcclCommunicator::settle(Operation& operation) {
  const auto start = Clock::now();
  for (;;) {
    const ncclResult_t state = handle_.state();
    if (state == ncclSuccess) return;
    if (state != ncclInProgress) give_up(operation, nccl_text(state));
    look_at_lateness(operation, seconds_since(start));
    nap();
  }
}

bool NcclCommunicator::poll(Request& request) {
  if ((request.ticket & kRecorded) != 0) return false;
  if (request.ticket >= first_unfinished_) look_at_oldest();
  return request.ticket < first_unfinished_;
}

void NcclCommunicator::wait(Request& request) {
  if (request.ticket >= first_unfinished_) operation(request.ticket).done.wait(compute_);
}

void NcclCommunicator::progress() {
  if (first_unfinished_ < next_) look_for_errors(operation(first_unfinished_));
}

void NcclCommunicator::look(double host_waited) {
  if (failed_) return;
  look_at_oldest();
  if (first_unfinished_ < next_ || next_recorded_ == 0) return;
  // What the host waits for may be a replay.
  replay_.number = notes_.last_number();
  look_for_errors(replay_);
  look_at_lateness(replay_, host_waited);
}

void NcclCommunicator::look_at_oldest() {
  retire();
  if (first_unfinished_ == next_) return;
  Operation& oldest = operation(first_unfinished_);
  look_for_errors(oldest);
  if (!oldest.running) {
    if (!has_passed(oldest.ready)) return;
    oldest.running = true;
    oldest.running_since = Clock::now();
  }
  look_at_lateness(oldest, seconds_since(oldest.running_since));
}

void NcclCommunicator::look_for_errors(const Operation& operation) {
  const ncclResult_t state = handle_.state();
  if (state != ncclSuccess && state != ncclInProgress) give_up(operation, nccl_text(state));
}

void NcclCommunicator::retire() {
  while (first_unfinished_ < next_ && has_passed(operation(first_unfinished_).done)) ++first_unfinished_;
}

void NcclCommunicator::look_at_lateness(const Operation& operation, double waited) {
  constexpr double kListenAfter = 20e-3;
  if (waited > kListenAfter) notes_.listen(operation.number, operation.name);
  if (waited > deadline() / 2) notes_.announce(operation.number, operation.name);
  if (waited <= deadline()) return;
  const bool left_to_other = notes_.left_to_another(operation.number);
  if (left_to_other && waited <= deadline() + StallNotes::kGrace) return;
  give_up(operation, fmt::format("not through after {} s, NCCL has no error{}", deadline(),
                                 notes_.describe(operation.number, operation.name)));
}

std::string NcclCommunicator::describe(const Operation& operation) const {
  return fmt::format("collective '{}' ({}, number {}, rank {} of {})", operation.name.view(),
                     operation.call.kind, operation.number, rank(), world());
}

void NcclCommunicator::give_up(const Operation& operation, const std::string& text) {
  failed_ = true;
  const std::string line = fmt::format("{}: {}", describe(operation), text);
  if (!handle_.abort()) {
    // The destructors that this exception runs may now wait for the device without end: say it while it can
    // be.
    std::fprintf(stderr, "NCCL: %s; ncclCommAbort does not return either\n", line.c_str());
  }
  fail_library("NCCL", line, "", operation.call.expression, __FILE__, operation.call.line);
}

}  // namespace plumb::cuda
