// PlannedCommunicator: a rank of a world that is not there. For planning: a run can be built, and its steps
// made, as on that rank, while nothing is sent.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/stall_notes.h"

namespace plumb {

/// A world in which ranks are numbered host by host: hosts "host-0", "host-1", ... of `ranks_per_host` each.
std::vector<std::string> planned_hosts(int world, int ranks_per_host);

/// Every collective is over at once, as if all other ranks held what this one holds, but that sums count only
/// this rank's part (so that nothing grows with the world). An observer hears of every call, of every wait
/// for an asynchronous one by the name under which that was started, and of progress() as a wait called so.
/// Rounds where `rounds` says so.
class PlannedCommunicator final : public Communicator {
 public:
  PlannedCommunicator(int rank, std::vector<std::string> hosts, bool rounds = false);

  void barrier(std::string_view name) override;
  void reserve(int requests) override;
  bool poll(Request& request) override;
  void wait(Request& request) override;
  static constexpr std::string_view kProgress = "progress";
  void progress() override { const ObservedWait moment(observer(), kProgress); }
  bool rounds() const override { return rounds_; }
  StallNotes& stall_notes() override { return notes_; }

 private:
  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override;
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override;
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override;
  Request do_start_rounded_all_reduce(std::string_view name, const Tensor& tensor) override;
  Request do_start_reduce_scatter(std::string_view name, const Tensor& tensor) override;
  Request do_start_all_gather(std::string_view name, const Tensor& tensor) override;
  Request start(std::string_view name);

  bool rounds_;
  NoStallNotes notes_;
  std::vector<CollectiveName> names_;  ///< of the last operations, a ring by ticket
  std::uint64_t next_ = 1;
};

}  // namespace plumb
