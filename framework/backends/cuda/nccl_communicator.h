// NcclCommunicator: collectives over device memory, ordered with the compute stream and never waited for by
// the host.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/communication_memory.h"
#include "backends/cuda/graph.h"
#include "backends/cuda/nccl_handle.h"
#include "backends/cuda/stream.h"
#include "comm/communicator.h"
#include "comm/stall_notes.h"

namespace plumb::cuda {

/// Collectives run one after the other on one stream of their own. Each waits there for an event that was
/// recorded in the compute stream when it was issued; wait() makes the compute stream wait for the event
/// behind it. No device-wide synchronisation; no allocation but in reserve() and the constructor.
///
/// Sums only: NCCL's maximum and minimum are fmax and fmin (its src/device/reduce_kernel.h), which lose a
/// NaN. bf16 sums are rounded to bf16 after every addition.
///
/// The deadline of a collective counts from the moment when the compute stream has let it go and those before
/// it are through. It is looked at, with NCCL's asynchronous errors, whenever the host waits for a stream or
/// an event of the backend (the WaitWatch), in poll() and when a collective is issued; then the communicator
/// is aborted, so that nothing waits on the device, and an Error names the collective.
///
/// While the compute stream is captured, collectives become part of the graph and are not looked at; every
/// replay is then watched as one operation, "recorded step".
class NcclCommunicator final : public Communicator {
 public:
  /// All ranks of `host` at the same time. Host, stream, watch and hooks must outlive it; watch and hooks
  /// must be empty, and are again afterwards. Ranges of `memory` are registered.
  NcclCommunicator(Communicator& host, Stream& compute, const CommunicationMemory& memory, WaitWatch& watch,
                   ReplayHooks& replays);
  /// Waits for what is outstanding, unless an exception is in flight or something has failed: then it aborts.
  ~NcclCommunicator() override;

  /// One of the hosts.
  void barrier(std::string_view name) override { host_.barrier(name); }
  void reserve(int requests) override;
  bool poll(Request& request) override;
  void wait(Request& request) override;
  void progress() override;
  bool takes(DType dtype) const override;
  /// In a recorded step the clock stands: 0 seconds.
  void begin_wait_clock() override;
  void end_wait_clock() override;
  double wait_clock_seconds() override;
  StallNotes& stall_notes() override { return notes_; }

 private:
  using Clock = std::chrono::steady_clock;

  /// What can be called: a collective of NCCL, with its text for messages.
  struct Call {
    const char* kind;
    const char* expression;
    int line;
  };
  struct Operation {
    explicit Operation(const WaitWatch& watch) : ready(watch), done(watch) {}
    CudaEvent ready, done;  ///< in the compute stream before it, in the communication stream behind it
    CollectiveName name;
    std::uint64_t number = 0;
    Call call{};
    bool captured = false;  ///< part of a graph: there is nothing to wait for
    bool running = false;   ///< it has been seen that nothing but other ranks can hold it up
    Clock::time_point running_since{};
  };

  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override;
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override;
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override;

  template <class Issue>
  Request start(std::string_view name, const Call& call, const Issue& issue);
  void run(Request request) { wait(request); }
  Operation& operation(std::uint64_t ticket) { return *queue_[ticket % queue_.size()]; }
  Operation& next_operation(std::string_view name, const Call& call);
  void finish_outstanding();
  void before_replay();
  void after_replay();
  void take_oldest_slot();
  void settle(Operation& operation);
  void look();
  void look_for_errors();
  void retire();
  void look_at_lateness(Operation& operation);
  std::string describe(const Operation& operation) const;
  [[noreturn]] void give_up(const Operation& operation, const std::string& text);

  Communicator& host_;
  StallNotes& notes_;
  Stream& compute_;
  WaitWatch& watch_;
  ReplayHooks& replays_;
  CudaStream stream_;
  CudaEvent wait_began_, wait_ended_;
  bool clock_ran_ = false;
  NcclHandle handle_;
  Registrations registrations_;
  // Operations with tickets [first_unfinished_, next_) live in queue_. Tickets start at 1: 0 is a request
  // that has always been finished.
  std::vector<std::unique_ptr<Operation>> queue_;
  std::uint64_t first_unfinished_ = 1, next_ = 1;
  bool failed_ = false;
};

}  // namespace plumb::cuda
