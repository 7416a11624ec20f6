#include "comm/mpi_hosts.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <set>
#include <utility>

#include "comm/mpi_check.h"
#include "core/error.h"
#include "core/log.h"

namespace plumb {
namespace {
constexpr std::align_val_t kAlignment{64};

void free_aligned(std::byte* memory) { ::operator delete(memory, kAlignment); }

/// Splits a communicator; the part inherits nothing that we rely on.
MPI_Comm part_of(MPI_Comm communicator, int color, int key) {
  MPI_Comm part = MPI_COMM_NULL;
  PLUMB_MPI(MPI_Comm_split(communicator, color, key, &part));
  if (part != MPI_COMM_NULL) PLUMB_MPI(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN));
  return part;
}
}  // namespace

MpiHosts::MpiHosts(Communicator& world, MPI_Comm communicator, const SumPath& path)
    : world_(world), communicator_(communicator), own_control_(nullptr, &free_aligned) {
  // MPI's own calls that follow have no deadline: first see that everyone is here.
  world_.barrier("hosts");
  if (path.shared_memory) {
    split_by_host();
  } else {
    stay_alone();
  }
  if (group_.largest > 1) {
    Absence absence = Absence::None;
    control_ = make_window("shared memory", HostSums::segment_bytes(), &absence);
    if (control_ == nullptr) {
      why_not_ = absence == Absence::NoRoom ? "/dev/shm is too small or full on a host"
                                            : "MPI gives no shared-memory window on a host";
      MPI_Comm_free(&host_);
      stay_alone();
    }
  }
  std::vector<std::byte*> segments;
  if (control_ != nullptr) {
    segments = control_->segments();
  } else {
    own_control_.reset(static_cast<std::byte*>(::operator new(HostSums::segment_bytes(), kAlignment)));
    std::memset(own_control_.get(), 0, HostSums::segment_bytes());
    segments = {own_control_.get()};
  }
  // Every rank has zeroed its segment before another looks at it.
  world_.barrier("shared memory is there");
  std::unique_ptr<MpiHostExchange> exchange = connect_hosts(path.rounding);
  exchange_ = exchange.get();
  sums_ = std::make_unique<HostSums>(group_, std::move(segments), std::move(exchange));
}

void MpiHosts::split_by_host() {
  const int rank = world_.rank();
  MPI_Comm node = MPI_COMM_NULL;
  PLUMB_MPI(MPI_Comm_split_type(communicator_, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node));
  int size = 0;
  PLUMB_MPI(MPI_Comm_size(node, &size));
  std::vector<int> ranks(static_cast<std::size_t>(size));
  PLUMB_MPI(MPI_Allgather(&rank, 1, MPI_INT, ranks.data(), 1, MPI_INT, node));
  const auto& names = world_.hosts();
  const std::string& own = names[static_cast<std::size_t>(rank)];
  const int leader = *std::find_if(ranks.begin(), ranks.end(),
                                   [&](int other) { return names[static_cast<std::size_t>(other)] == own; });
  host_ = part_of(node, leader, rank);
  MPI_Comm_free(&node);
  gather_groups(leader);
}

void MpiHosts::stay_alone() {
  host_ = part_of(communicator_, world_.rank(), 0);
  gather_groups(world_.rank());
}

void MpiHosts::gather_groups(int own_leader) {
  const auto world = static_cast<std::size_t>(world_.world());
  std::int32_t leader = own_leader;
  std::vector<std::int32_t> leaders(world);
  world_.all_gather("lowest ranks of hosts", Tensor(&leader, DType::Int32, {1}),
                    Tensor(leaders.data(), DType::Int32, {world_.world(), 1}));
  leaders_.assign(leaders.begin(), leaders.end());
  group_ = {.ranks = {}, .self = 0, .sharers = world_.world(), .largest = 1};
  for (int rank = 0; rank < world_.world(); ++rank) {
    if (leaders_[static_cast<std::size_t>(rank)] != leader) continue;
    if (rank == world_.rank()) group_.self = static_cast<int>(group_.ranks.size());
    group_.ranks.push_back(rank);
  }
  const std::set<int> hosts(leaders_.begin(), leaders_.end());
  hosts_ = static_cast<int>(hosts.size());
  for (const int host : hosts) {
    const auto ranks = static_cast<int>(std::count(leaders_.begin(), leaders_.end(), host));
    group_.largest = std::max(group_.largest, ranks);
    group_.sharers = std::min(group_.sharers, ranks);
  }
}

/// Ranks with the same share of different hosts, in the order of the hosts.
std::unique_ptr<MpiHostExchange> MpiHosts::connect_hosts(bool rounding) {
  has_room_to_round_ = rounding;
  if (hosts_ == 1) return nullptr;
  const bool shares = group_.self < group_.sharers;
  const MPI_Comm peers = part_of(communicator_, shares ? group_.self : MPI_UNDEFINED, world_.rank());
  if (!shares) return nullptr;
  auto exchange = std::make_unique<MpiHostExchange>(peers);
  if (rounding) exchange->reserve_rounded();
  return exchange;
}

/// The worst that any rank has to say.
MpiHosts::Absence MpiHosts::agree(std::string_view name, Absence own) {
  auto worst = static_cast<std::int32_t>(own);
  world_.all_reduce(name, Tensor(&worst, DType::Int32, {1}), ReduceOp::Max);
  return static_cast<Absence>(worst);
}

std::unique_ptr<MpiSharedWindow> MpiHosts::make_window(std::string_view name, std::size_t bytes,
                                                       Absence* absence) {
  const bool leads = group_.self == 0;
  const bool room = !leads || MpiSharedWindow::has_room(bytes * group_.ranks.size());
  *absence = agree(name, room ? Absence::None : Absence::NoRoom);
  if (*absence != Absence::None) return nullptr;
  std::unique_ptr<MpiSharedWindow> window = MpiSharedWindow::make(host_, bytes);
  *absence = agree(name, window ? Absence::None : Absence::NoWindow);
  // Where it failed only on another host, those of this one free theirs together.
  return *absence == Absence::None ? std::move(window) : nullptr;
}

std::shared_ptr<void> MpiHosts::allocate(std::string_view name, std::size_t bytes) {
  if (!shares_memory() || bytes == 0) return nullptr;
  std::int64_t sizes[2] = {static_cast<std::int64_t>(bytes), -static_cast<std::int64_t>(bytes)};
  world_.all_reduce(name, Tensor(sizes, DType::Int64, {2}), ReduceOp::Max);
  PLUMB_CHECK(sizes[0] == -sizes[1], "'{}': ranks ask for shared memory of {} to {} bytes", name, -sizes[1],
              sizes[0]);
  free_released();
  Absence absence = Absence::None;
  std::unique_ptr<MpiSharedWindow> window = make_window(name, bytes, &absence);
  if (window == nullptr) {
    if (world_.rank() == 0) {
      log_warning(
          "{} MiB of shared memory for '{}' are not to be had{}: sums are copied through less of it, at a "
          "cost",
          bytes >> 20, name,
          absence == Absence::NoRoom ? " (/dev/shm is too small or full on a host: df -h /dev/shm)" : "");
    }
    return nullptr;
  }
  sums_->add_memory(window->segments(), bytes);
  void* own = window->segments()[static_cast<std::size_t>(group_.self)];
  auto released = std::make_shared<bool>(false);
  allocations_.push_back({std::move(window), released});
  return {own, [released](void*) { *released = true; }};
}

/// A window is freed by all ranks of its host together, so when all of them have let go of it.
void MpiHosts::free_released() {
  std::vector<std::int32_t> released;
  for (const Allocation& allocation : allocations_) released.push_back(*allocation.released ? 1 : 0);
  world_.all_reduce("memory that is let go of", Tensor(released.data(), DType::Int32, {std::ssize(released)}),
                    ReduceOp::Min);
  for (std::size_t i = allocations_.size(); i-- > 0;) {
    if (released[i] == 0) continue;
    sums_->remove_memory(allocations_[i].window->segments()[static_cast<std::size_t>(group_.self)]);
    allocations_.erase(allocations_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void MpiHosts::abandon() {
  abandoned_ = true;
  if (control_) control_->abandon();
  if (exchange_ != nullptr) exchange_->abandon();
  for (Allocation& allocation : allocations_) allocation.window->abandon();
}

MpiHosts::~MpiHosts() {
  if (abandoned_ || std::uncaught_exceptions() > 0) return;
  sums_.reset();
  allocations_.clear();
  control_.reset();
  MPI_Comm_free(&host_);
}

}  // namespace plumb
