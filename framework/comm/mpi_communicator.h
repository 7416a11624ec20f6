// MpiCommunicator: collectives over MPI_COMM_WORLD. Only sources of this folder include it; others get one
// from bootstrap.h.
#pragma once

#include <mpi.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi_hosts.h"
#include "comm/mpi_reductions.h"
#include "comm/mpi_session.h"
#include "comm/mpi_stall_notes.h"

namespace plumb {

/// Every collective, blocking or not, is an operation in one first-in first-out queue. An operation is cut
/// into chunks of about 1 MiB, each a non-blocking MPI collective, and at most kWindow chunks are in flight.
/// Chunks are started in queue order, so that all ranks start the same MPI calls in the same order however
/// their timing differs, and a blocking call cannot overtake an asynchronous one. Why chunks: Open MPI moves
/// a non-blocking collective only while it is called, and large ones run at a third of the speed.
///
/// Once choose_sum_path() has given ranks memory that they share, sums of fp32 and fp64 take another way
/// (HostSums), beside the chunks; both are moved by every call, and operations still finish in queue order.
///
/// Determinism: Open MPI's non-blocking collectives follow a schedule fixed by the size and the world (a
/// ring, a binomial tree or recursive doubling), and the chunks are fixed too, so the order of a sum is.
class MpiCommunicator final : public Communicator {
 public:
  static constexpr std::int64_t kChunkBytes = 1 << 20;
  static constexpr int kWindow = 4;

  MpiCommunicator(std::unique_ptr<MpiSession> session, const std::string& host, double deadline,
                  int requests);
  /// Waits for what is outstanding, unless an exception is in flight or a deadline was missed.
  ~MpiCommunicator() override;

  void barrier(std::string_view name) override;
  void reserve(int requests) override;
  bool poll(Request& request) override;
  void wait(Request& request) override;
  void progress() override;
  StallNotes& stall_notes() override { return *notes_; }
  std::string choose_sum_path(const SumPath& path) override;
  bool rounds() const override { return by_host_ && by_host_->rounds(); }
  std::shared_ptr<void> allocate(std::string_view name, std::size_t bytes) override;

 private:
  using Clock = std::chrono::steady_clock;
  enum class Kind {
    AllReduce,
    AllGather,
    ReduceScatter,
    Broadcast,
    Barrier,
    HostSum,
    ReduceRows,
    BroadcastRows
  };

  struct Operation {
    Kind kind = Kind::Barrier;
    CollectiveName name;
    std::uint64_t number = 0;  ///< of stall_notes()
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_Op op = MPI_OP_NULL;
    int root = 0;
    const char* send = nullptr;  ///< null: in place
    char* receive = nullptr;
    std::int64_t element_bytes = 0;
    std::int64_t count = 0;  ///< elements; of one rank for all but AllReduce and Broadcast
    std::int64_t chunk = 0;  ///< elements of a chunk; the last one has what is left
    std::int64_t chunks = 0;
    std::int64_t started = 0, finished = 0;  ///< chunks
    Clock::time_point waiting_since{};       ///< zero until someone waits
    Tensor tensor;                           ///< of a HostSum, which has no chunks
    bool rounded = false;
    std::uint64_t place = 0;  ///< among the sums of by_host_
  };
  struct InFlight {
    MPI_Request request = MPI_REQUEST_NULL;
    std::uint64_t ticket = 0;
  };

  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override;
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override;
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override;
  Request do_start_rounded_all_reduce(std::string_view name, const Tensor& tensor) override;
  Request do_start_reduce_scatter(std::string_view name, const Tensor& tensor) override;
  Request do_start_all_gather(std::string_view name, const Tensor& tensor) override;

  static Operation in_place(Kind kind, std::string_view name, const Tensor& tensor);
  Operation in_rows(Kind kind, std::string_view name, const Tensor& tensor) const;
  Operation out_of_place(Kind kind, std::string_view name, const Tensor& send, const Tensor& receive,
                         std::int64_t count) const;
  static Operation host_sum(std::string_view name, const Tensor& tensor, bool rounded);
  bool goes_by_host(const Tensor& tensor) const;
  bool is_through(const Operation& operation) const;
  Request start(const Operation& operation);
  void run(const Operation& operation);
  bool is_finished(std::uint64_t ticket) const { return ticket < first_unfinished_; }
  Operation& operation(std::uint64_t ticket) { return queue_[ticket % queue_.size()]; }
  void retire_chunks();
  void start_chunks();
  void start_chunk(Operation& operation, MPI_Request* request);
  void start_row_chunk(Operation& operation, MPI_Request* request);
  [[noreturn]] void fail_late(std::uint64_t ticket);
  void exchange_hosts(int rank, int world, const std::string& host);

  std::unique_ptr<MpiSession> session_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  MpiReductions reductions_;
  std::unique_ptr<MpiStallNotes> notes_;
  std::unique_ptr<MpiHosts> by_host_;  ///< null until choose_sum_path()

  // Operations with tickets [first_unfinished_, next_) live in queue_; those before first_unstarted_ have all
  // their chunks started. Tickets start at 1: 0 is a request that has always been finished.
  std::vector<Operation> queue_;
  std::uint64_t first_unfinished_ = 1, first_unstarted_ = 1, next_ = 1;
  // A ring: `in_flight_` chunks from `oldest_` on.
  std::array<InFlight, kWindow> window_{};
  int oldest_ = 0, in_flight_ = 0;
  Clock::time_point last_moved_{};
  bool deadline_missed_ = false;
};

}  // namespace plumb
