#include "comm/mpi_communicator.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>

#include "comm/mpi_check.h"
#include "core/error.h"
#include "core/log.h"

namespace plumb {
namespace {
/// A rank that waits while nothing moves spins at first (a chunk takes microseconds), then lets others have
/// its core, then sleeps: ranks that share cores must not starve the one they wait for.
void pause_waiting(double seconds_idle) {
  constexpr double kSpin = 100e-6, kYield = 2e-3;
  constexpr timespec kNap{0, 50'000};
  if (seconds_idle < kSpin) return;
  if (seconds_idle < kYield) {
    sched_yield();
  } else {
    nanosleep(&kNap, nullptr);
  }
}

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

constexpr std::string_view kKindNames[] = {"all_reduce", "all_gather", "reduce_scatter", "broadcast",
                                           "barrier",    "all_reduce", "reduce_scatter", "all_gather"};
}  // namespace

MpiCommunicator::MpiCommunicator(std::unique_ptr<MpiSession> session, const std::string& host,
                                 double deadline, int requests)
    : session_(std::move(session)) {
  int rank = 0, world = 0;
  PLUMB_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  PLUMB_MPI(MPI_Comm_size(MPI_COMM_WORLD, &world));
  set_process_identity({host, rank, world});
  PLUMB_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &communicator_));
  PLUMB_MPI(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
  set_ranks(rank, std::vector<std::string>(static_cast<std::size_t>(world), "?"));
  notes_ = std::make_unique<MpiStallNotes>(rank, hosts());
  set_deadline(deadline);
  reserve(requests);
  exchange_hosts(rank, world, host);
}

void MpiCommunicator::exchange_hosts(int rank, int world, const std::string& host) {
  constexpr std::int64_t kBytes = 256;
  std::vector<char> own(kBytes), all(static_cast<std::size_t>(kBytes * world));
  std::copy_n(host.begin(), std::min<std::size_t>(host.size(), kBytes - 1), own.begin());
  constexpr std::int64_t kWords = kBytes / 4;
  all_gather("host names", Tensor(own.data(), DType::Int32, {kWords}),
             Tensor(all.data(), DType::Int32, {world, kWords}));
  std::vector<std::string> hosts;
  for (int r = 0; r < world; ++r) hosts.emplace_back(all.data() + kBytes * r);
  set_ranks(rank, std::move(hosts));
}

MpiCommunicator::~MpiCommunicator() {
  if (std::uncaught_exceptions() > 0) return;
  try {
    progress();
    if (!deadline_missed_ && next_ > 1) {
      Request last{next_ - 1};
      wait(last);
    }
  } catch (const std::exception& error) {
    log_error("while closing the communicator: {}", error.what());
  }
  if (first_unfinished_ < next_) {
    // MPI_Finalize would wait for ranks that do not come.
    if (by_host_) by_host_->abandon();
    session_->abandon();
  } else {
    by_host_.reset();
    MPI_Comm_free(&communicator_);
  }
}

void MpiCommunicator::reserve(int requests) {
  PLUMB_CHECK(requests >= 1, "at least 1 request must be reserved, got {}", requests);
  PLUMB_CHECK(first_unfinished_ == next_, "requests can be reserved only while no operation is outstanding");
  const auto room = static_cast<std::size_t>(requests);
  if (room > queue_.size()) queue_.assign(room, Operation{});
  if (by_host_) by_host_->sums().reserve(static_cast<int>(queue_.size()));
}

std::string MpiCommunicator::choose_sum_path(const SumPath& path) {
  PLUMB_CHECK(!by_host_ && first_unfinished_ == next_, "the path of sums is chosen once, at the start");
  auto by_host = std::make_unique<MpiHosts>(*this, communicator_, path);
  by_host->sums().reserve(static_cast<int>(queue_.size()));
  by_host_ = std::move(by_host);
  return by_host_->why_not();
}

std::shared_ptr<void> MpiCommunicator::allocate(std::string_view name, std::size_t bytes) {
  return by_host_ ? by_host_->allocate(name, bytes) : nullptr;
}

MpiCommunicator::Operation MpiCommunicator::in_place(Kind kind, std::string_view name, const Tensor& tensor) {
  Operation operation;
  operation.kind = kind;
  operation.name = CollectiveName(name);
  operation.type = mpi_type_of(tensor.dtype);
  operation.receive = static_cast<char*>(tensor.data);
  operation.element_bytes = static_cast<std::int64_t>(size_of(tensor.dtype));
  operation.count = tensor.elements();
  operation.chunk = kChunkBytes / operation.element_bytes;
  operation.chunks = (operation.count + operation.chunk - 1) / operation.chunk;
  return operation;
}

MpiCommunicator::Operation MpiCommunicator::out_of_place(Kind kind, std::string_view name, const Tensor& send,
                                                         const Tensor& receive, std::int64_t count) const {
  PLUMB_CHECK(count <= std::numeric_limits<int>::max(),
              "collective '{}': {} elements per rank are more than MPI counts", name, count);
  Operation operation = in_place(kind, name, receive);
  operation.send = static_cast<const char*>(send.data);
  operation.count = operation.chunk = count;
  operation.chunks = 1;
  return operation;
}

MpiCommunicator::Operation MpiCommunicator::host_sum(std::string_view name, const Tensor& tensor,
                                                     bool rounded) {
  Operation operation;
  operation.kind = Kind::HostSum;
  operation.name = CollectiveName(name);
  operation.tensor = tensor;
  operation.rounded = rounded;
  return operation;
}

bool MpiCommunicator::goes_by_host(const Tensor& tensor) const {
  return by_host_ && by_host_->shares_memory() &&
         (tensor.dtype == DType::Float32 || tensor.dtype == DType::Float64);
}

/// A chunk is a part of one row; chunks of all rows take turns, so that no rank is the root of two in a row.
MpiCommunicator::Operation MpiCommunicator::in_rows(Kind kind, std::string_view name,
                                                    const Tensor& tensor) const {
  Operation operation = in_place(kind, name, tensor);
  operation.count = tensor.elements() / world();
  operation.chunks = world() * ((operation.count + operation.chunk - 1) / operation.chunk);
  operation.op = MPI_SUM;
  return operation;
}

void MpiCommunicator::do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) {
  if (op == ReduceOp::Sum && goes_by_host(tensor)) {
    run(host_sum(name, tensor, /*rounded=*/false));
    return;
  }
  Operation operation = in_place(Kind::AllReduce, name, tensor);
  operation.op = reductions_.of(op, tensor.dtype);
  run(operation);
}

Communicator::Request MpiCommunicator::do_start_all_reduce(std::string_view name, const Tensor& tensor) {
  if (goes_by_host(tensor)) return start(host_sum(name, tensor, /*rounded=*/false));
  Operation operation = in_place(Kind::AllReduce, name, tensor);
  operation.op = MPI_SUM;
  return start(operation);
}

Communicator::Request MpiCommunicator::do_start_rounded_all_reduce(std::string_view name,
                                                                   const Tensor& tensor) {
  PLUMB_CHECK(by_host_, "collective '{}': choose_sum_path() made no room to round", name);
  return start(host_sum(name, tensor, by_host_->rounds()));
}

Communicator::Request MpiCommunicator::do_start_reduce_scatter(std::string_view name, const Tensor& tensor) {
  // Where all memory is shared, sums for all are one pass over it, without a message.
  if (goes_by_host(tensor) && by_host_->is_one_host())
    return start(host_sum(name, tensor, /*rounded=*/false));
  return start(in_rows(Kind::ReduceRows, name, tensor));
}

Communicator::Request MpiCommunicator::do_start_all_gather(std::string_view name, const Tensor& tensor) {
  return start(in_rows(Kind::BroadcastRows, name, tensor));
}

void MpiCommunicator::do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) {
  run(out_of_place(Kind::AllGather, name, send, receive, send.elements()));
}

void MpiCommunicator::do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) {
  Operation operation = out_of_place(Kind::ReduceScatter, name, send, receive, receive.elements());
  operation.op = MPI_SUM;
  run(operation);
}

void MpiCommunicator::do_broadcast(std::string_view name, const Tensor& tensor, int root) {
  Operation operation = in_place(Kind::Broadcast, name, tensor);
  operation.root = root;
  run(operation);
}

void MpiCommunicator::barrier(std::string_view name) {
  Operation operation;
  operation.name = CollectiveName(name);
  operation.chunks = 1;
  run(operation);
}

Communicator::Request MpiCommunicator::start(const Operation& new_operation) {
  if (next_ - first_unfinished_ == queue_.size()) {
    Request oldest{first_unfinished_};
    wait(oldest);
  }
  const std::uint64_t ticket = next_++;
  Operation& started = operation(ticket);
  started = new_operation;
  started.number = notes_->next_number();
  if (started.kind == Kind::HostSum) {
    started.place = by_host_->sums().start({.tensor = started.tensor,
                                            .rounded = started.rounded,
                                            .name = started.name,
                                            .number = started.number});
  }
  if (observer() != nullptr) observer()->started(ticket);
  progress();
  return Request{ticket};
}

void MpiCommunicator::run(const Operation& new_operation) {
  Request request = start(new_operation);
  wait(request);
}

void MpiCommunicator::progress() {
  if (first_unfinished_ == next_) return;
  retire_chunks();
  if (by_host_ && by_host_->sums().advance()) last_moved_ = Clock::now();
  start_chunks();
  while (first_unfinished_ < next_ && is_through(operation(first_unfinished_))) ++first_unfinished_;
  if (observer() != nullptr) observer()->finished_before(first_unfinished_);
}

bool MpiCommunicator::is_through(const Operation& operation) const {
  return operation.kind == Kind::HostSum ? by_host_->sums().finished() >= operation.place
                                         : operation.finished == operation.chunks;
}

void MpiCommunicator::retire_chunks() {
  while (in_flight_ > 0) {
    InFlight& oldest = window_[static_cast<std::size_t>(oldest_)];
    int done = 0;
    // One test moves all chunks in flight; testing the oldest keeps completion in order.
    PLUMB_MPI_OF(operation(oldest.ticket).name.view(), MPI_Test(&oldest.request, &done, MPI_STATUS_IGNORE));
    if (!done) return;
    last_moved_ = Clock::now();
    ++operation(oldest.ticket).finished;
    oldest_ = (oldest_ + 1) % kWindow;
    --in_flight_;
  }
}

void MpiCommunicator::start_chunks() {
  while (in_flight_ < kWindow && first_unstarted_ < next_) {
    Operation& next = operation(first_unstarted_);
    if (next.kind == Kind::HostSum) {
      ++first_unstarted_;
      continue;
    }
    InFlight& slot = window_[static_cast<std::size_t>((oldest_ + in_flight_) % kWindow)];
    slot.ticket = first_unstarted_;
    start_chunk(next, &slot.request);
    ++in_flight_;
    if (++next.started == next.chunks) ++first_unstarted_;
  }
}

void MpiCommunicator::start_chunk(Operation& operation, MPI_Request* request) {
  const std::int64_t begin = operation.started * operation.chunk;
  const int count = static_cast<int>(std::min(operation.chunk, operation.count - begin));
  char* receive = operation.receive + begin * operation.element_bytes;
  const std::string_view name = operation.name.view();
  switch (operation.kind) {
    case Kind::AllReduce:
      PLUMB_MPI_OF(name, MPI_Iallreduce(MPI_IN_PLACE, receive, count, operation.type, operation.op,
                                        communicator_, request));
      return;
    case Kind::AllGather:
      PLUMB_MPI_OF(name, MPI_Iallgather(operation.send, count, operation.type, receive, count, operation.type,
                                        communicator_, request));
      return;
    case Kind::ReduceScatter:
      PLUMB_MPI_OF(name, MPI_Ireduce_scatter_block(operation.send, receive, count, operation.type,
                                                   operation.op, communicator_, request));
      return;
    case Kind::Broadcast:
      PLUMB_MPI_OF(name, MPI_Ibcast(receive, count, operation.type, operation.root, communicator_, request));
      return;
    case Kind::Barrier:
      PLUMB_MPI_OF(name, MPI_Ibarrier(communicator_, request));
      return;
    case Kind::HostSum:
      fail("collective '{}' has no chunks", name);
    case Kind::ReduceRows:
    case Kind::BroadcastRows:
      start_row_chunk(operation, request);
      return;
  }
}

void MpiCommunicator::start_row_chunk(Operation& operation, MPI_Request* request) {
  const int root = static_cast<int>(operation.started % world());
  const std::int64_t begin = operation.started / world() * operation.chunk;
  const int count = static_cast<int>(std::min(operation.chunk, operation.count - begin));
  char* data = operation.receive + (root * operation.count + begin) * operation.element_bytes;
  const std::string_view name = operation.name.view();
  if (operation.kind == Kind::BroadcastRows) {
    PLUMB_MPI_OF(name, MPI_Ibcast(data, count, operation.type, root, communicator_, request));
    return;
  }
  const bool receives = root == rank();
  PLUMB_MPI_OF(name, MPI_Ireduce(receives ? MPI_IN_PLACE : data, receives ? data : nullptr, count,
                                 operation.type, operation.op, root, communicator_, request));
}

bool MpiCommunicator::poll(Request& request) {
  if (is_finished(request.ticket)) return true;
  progress();
  if (is_finished(request.ticket)) return true;
  constexpr double kListenAfter = 20e-3;
  Operation& waited_for = operation(request.ticket);
  const auto now = Clock::now();
  if (waited_for.waiting_since == Clock::time_point{}) waited_for.waiting_since = now;
  const double waited = seconds(now - waited_for.waiting_since);
  if (waited > kListenAfter) notes_->listen(waited_for.number, waited_for.name);
  if (waited > deadline() / 2) notes_->announce(waited_for.number, waited_for.name);
  const bool left_to_other = waited > deadline() && notes_->left_to_another(waited_for.number);
  if (waited > deadline() + (left_to_other ? StallNotes::kGrace : 0)) fail_late(request.ticket);
  return false;
}

void MpiCommunicator::wait(Request& request) {
  if (is_finished(request.ticket)) return;
  const ObservedWait wait(observer(), operation(request.ticket).name.view());
  const auto begin = Clock::now();
  while (!poll(request)) pause_waiting(seconds(Clock::now() - std::max(begin, last_moved_)));
}

void MpiCommunicator::fail_late(std::uint64_t ticket) {
  deadline_missed_ = true;
  const Operation& late = operation(ticket);
  const bool by_host = late.kind == Kind::HostSum;
  const std::int64_t done = by_host ? by_host_->sums().pieces_done(late.place) : late.finished;
  const std::int64_t all = by_host ? by_host_->sums().pieces(late.place) : late.chunks;
  fail(
      "collective '{}' ({}, number {}, {} of {} chunks done) did not finish within {} s on rank {} of {} "
      "(host {}){}",
      late.name.view(), kKindNames[static_cast<int>(late.kind)], late.number, done, all, deadline(), rank(),
      world(), hosts()[static_cast<std::size_t>(rank())], notes_->describe(late.number, late.name));
}

}  // namespace plumb
