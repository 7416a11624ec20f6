// NcclCommunicator: collectives over device memory, ordered with the compute stream and never waited for by
// the host.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/communication_memory.h"
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
/// A recording (Backend::record) may hold collectives: they are events and NCCL's kernels like any. Nothing
/// of a replay can be looked at from outside, so its deadline is that of the host's wait for it, and the
/// whole recording is named.
///
/// The deadline of a collective counts from the moment when the compute stream has let it go and those before
/// it are through. It is looked at, with NCCL's asynchronous errors, whenever the host waits for a stream or
/// an event of the backend (the WaitWatch), in poll() and when a collective is issued; then the communicator
/// is aborted, so that nothing waits on the device, and an Error names the collective.
class NcclCommunicator final : public Communicator {
 public:
  /// All ranks of `host` at the same time. Host, stream and watch must outlive it; the watch must be empty,
  /// and is again afterwards. Ranges of `memory` are registered.
  NcclCommunicator(Communicator& host, Stream& compute, const CommunicationMemory& memory, WaitWatch& watch);
  /// Waits for what is outstanding, unless an exception is in flight or something has failed: then it aborts.
  ~NcclCommunicator() override;

  /// One of the hosts.
  void barrier(std::string_view name) override { host_.barrier(name); }
  void reserve(int requests) override;
  bool poll(Request& request) override;
  void wait(Request& request) override;
  void progress() override;
  bool takes(DType dtype) const override;
  void begin_wait_clock() override;
  void end_wait_clock() override;
  double take_waited_seconds() override;
  StallNotes& stall_notes() override { return notes_; }

 private:
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
    bool running = false;  ///< it has been seen that nothing but other ranks can hold it up
    Clock::time_point running_since{};
  };
  /// In the compute stream, before and behind a span of wait() calls.
  struct TimedSpan {
    explicit TimedSpan(const WaitWatch& watch)
        : began(watch, EventTiming::On), ended(watch, EventTiming::On) {}
    CudaEvent began, ended;
  };
  static constexpr std::uint64_t kRecorded = std::uint64_t{1} << 63;  ///< marks tickets of recordings

  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override;
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override;
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override;
  Request do_start_reduce_scatter(std::string_view name, const Tensor& tensor) override;
  Request do_start_all_gather(std::string_view name, const Tensor& tensor) override;

  template <class Issue>
  Request start(std::string_view name, const Call& call, const Issue& issue);
  void run(Request request) { wait(request); }
  Operation& operation(std::uint64_t ticket);
  bool is_recording() const;
  void take_oldest_slot();
  void settle(Operation& operation);
  void look(double host_waited);
  void look_at_oldest();
  void look_for_errors(const Operation& operation);
  void retire();
  void look_at_lateness(const Operation& operation, double waited);
  std::string describe(const Operation& operation) const;
  [[noreturn]] void give_up(const Operation& operation, const std::string& text);

  Communicator& host_;
  StallNotes& notes_;
  Stream& compute_;
  WaitWatch& watch_;
  CudaStream stream_;
  std::vector<std::unique_ptr<TimedSpan>> timed_;
  SpanCount timed_count_;
  NcclHandle handle_;
  Registrations registrations_;
  // Operations with tickets [first_unfinished_, next_) live in queue_. Tickets start at 1: 0 is a request
  // that has always been finished.
  std::vector<std::unique_ptr<Operation>> queue_;
  std::uint64_t first_unfinished_ = 1, next_ = 1;
  // Those of recordings, which no one can wait for from outside, live in recorded_.
  std::vector<std::unique_ptr<Operation>> recorded_;
  std::uint64_t next_recorded_ = 0;
  Operation replay_;  ///< stands for all collectives of a replay
  bool failed_ = false;
};

}  // namespace plumb::cuda
