// MpiHostExchange: sums of shares between hosts by non-blocking MPI. Only sources of this folder include it.
#pragma once

#include <mpi.h>

#include <array>
#include <vector>

#include "comm/host_sums.h"

namespace plumb {

/// As they are: one MPI_Iallreduce. Rounded: an MPI_Ialltoall of bf16 that brings each host its part of every
/// host's share, the sum of them in fp32 in the order of the hosts, rounded once, and an MPI_Iallgather of
/// the sums. So each host sends and receives 2 (hosts - 1) / hosts of the share, and all have the same bits.
class MpiHostExchange final : public HostExchange {
 public:
  /// `hosts`: a rank of every host, in the order of the hosts; the communicator becomes this object's.
  explicit MpiHostExchange(MPI_Comm hosts);
  /// Frees the communicators, unless an exception is in flight or abandon() was called.
  ~MpiHostExchange() override;

  /// Room for rounded sums. Allocates.
  void reserve_rounded();
  void start(int slot, const Tensor& share, bool rounded, std::string_view name) override;
  bool finished(int slot) override;
  /// The destructor shall leave MPI alone.
  void abandon() { sums_ = gathers_ = MPI_COMM_NULL; }

 private:
  struct Slot {
    MPI_Request request = MPI_REQUEST_NULL;
    Tensor share;
    CollectiveName name;
    bool rounded = false;
    std::int64_t part = 0;                ///< elements of the share that a host sums, where they are rounded
    std::vector<bfloat16> send, receive;  ///< (hosts, part)
  };
  /// Of the sums started so far, the slot of one of the last kExchanges.
  Slot& nth(std::uint64_t count) { return slots_[static_cast<std::size_t>(order_[count % order_.size()])]; }
  static bool test(Slot& slot);
  void start_gathers();
  void start_gather(Slot& slot);

  // Calls of one communicator start in the same order everywhere. A gather starts when its parts have come,
  // and by then another host may have started more sums or fewer: hence one communicator for each.
  MPI_Comm sums_ = MPI_COMM_NULL, gathers_ = MPI_COMM_NULL;
  int hosts_ = 0;
  std::array<Slot, HostSums::kExchanges> slots_;
  std::array<int, HostSums::kExchanges> order_{};
  /// Sums that were started; that are beyond MPI_Iallreduce or MPI_Ialltoall; that were found finished.
  std::uint64_t started_ = 0, beyond_sum_ = 0, finished_ = 0;
};

}  // namespace plumb
