// MpiHosts: which ranks share a host, the memory that they share, and the sums that use it. Only sources of
// this folder include it.
#pragma once

#include <mpi.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "comm/host_sums.h"
#include "comm/mpi_host_exchange.h"
#include "comm/mpi_shared_window.h"

namespace plumb {

class MpiHosts {
 public:
  /// A collective over `world`, whose ranks are those of `communicator`; both must outlive this. Ranks share
  /// a host when MPI says that they can share memory and their host names are the same.
  MpiHosts(Communicator& world, MPI_Comm communicator, const SumPath& path);
  /// Frees everything, unless an exception is in flight or abandon() was called.
  ~MpiHosts();
  MpiHosts(const MpiHosts&) = delete;
  MpiHosts& operator=(const MpiHosts&) = delete;

  HostSums& sums() { return *sums_; }
  /// Whether any ranks share memory. The same on all ranks, as what follows.
  bool shares_memory() const { return control_ != nullptr; }
  /// Why ranks of a host do not share memory although they were to.
  const std::string& why_not() const { return why_not_; }
  /// Whether all ranks share the memory of one host.
  bool is_one_host() const { return hosts_ == 1; }
  /// Whether sums are rounded anywhere: there is room for it, and more than one host.
  bool rounds() const { return !is_one_host() && has_room_to_round_; }
  /// See Communicator::allocate.
  std::shared_ptr<void> allocate(std::string_view name, std::size_t bytes);
  /// The destructor shall leave MPI alone.
  void abandon();

 private:
  enum class Absence : std::int32_t { None, NoRoom, NoWindow };
  /// Memory that allocate() has given, and whether all that it gave it to have let go.
  struct Allocation {
    std::unique_ptr<MpiSharedWindow> window;
    std::shared_ptr<bool> released;
  };

  void split_by_host();
  void stay_alone();
  void gather_groups(int own_leader);
  std::unique_ptr<MpiSharedWindow> make_window(std::string_view name, std::size_t bytes, Absence* absence);
  Absence agree(std::string_view name, Absence own);
  std::unique_ptr<MpiHostExchange> connect_hosts(bool rounding);
  void free_released();

  Communicator& world_;
  MPI_Comm communicator_;
  MPI_Comm host_ = MPI_COMM_NULL;  ///< the ranks of this host, in ascending order
  HostGroup group_;
  std::vector<int> leaders_;  ///< lowest rank of the host of each rank
  int hosts_ = 1;
  std::string why_not_;
  bool has_room_to_round_ = false, abandoned_ = false;
  std::unique_ptr<MpiSharedWindow> control_;
  std::unique_ptr<std::byte, void (*)(std::byte*)> own_control_;  ///< of a rank that is alone
  std::vector<Allocation> allocations_;
  MpiHostExchange* exchange_ = nullptr;  ///< owned by sums_
  std::unique_ptr<HostSums> sums_;
};

}  // namespace plumb
