#include "fabric_measurement.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "cores.h"
#include "fabric_clock.h"
#include "plan/collective_time.h"

namespace plumb {
namespace {

/// Four times as large one after the other, and twice from kOften on: of these most of a step's bytes are,
/// and a line that cannot fit all sizes is to fit them.
constexpr std::int64_t kSmallest = 1 << 10, kOften = 1 << 20;
/// As a step without and with sharding starts them, one for each way of using a link.
constexpr std::array kKinds = {CollectiveKind::AllReduce, CollectiveKind::ReduceScatter,
                               CollectiveKind::AllGatherRows};

/// Hosts with equally many ranks each, which are neighbours in number; 0 where they are not.
int even_hosts(const Communicator& communicator) {
  const std::vector<std::string> hosts = distinct_hosts(communicator.hosts());
  const auto count = hosts.size(), world = communicator.hosts().size(), each = world / count;
  for (std::size_t rank = 0; rank < world; ++rank)
    if (rank / each >= count || communicator.hosts()[rank] != hosts[rank / each]) return 0;
  return static_cast<int>(count);
}

/// Fits one way of using a link; what the collective takes of the other link is taken off.
LinkSpeed fit_speed(FabricClock& clock, CollectiveKind kind, bool between, const PlannedWorld& world,
                    const Fabric& fabric, std::vector<MeasuredCollective>& measured) {
  std::vector<TimedSize> sizes;
  const std::size_t first = measured.size();
  for (std::int64_t size = kSmallest; size <= FabricClock::kLargest; size *= size < kOften ? 4 : 2) {
    const std::int64_t bytes = clock.in_rows(kind, size);
    const double seconds = clock.collective_seconds(kind, bytes);
    const CollectiveCost cost = collective_cost(kind, static_cast<double>(bytes), world, fabric);
    const LinkUse& use = between ? cost.between : cost.inside;
    double other = 0;
    if (between && fabric.inside) {
      const LinkSpeed& inside = (*fabric.inside).*way_of(kind).speed;
      other = cost.inside.latencies * inside.latency + cost.inside.bytes * inside.seconds_per_byte;
    }
    // A tenth at least: the difference of two measurements may be anything.
    sizes.push_back({use.latencies, use.bytes, std::max(seconds - other, 0.1 * seconds)});
    measured.push_back(
        {.kind = kind, .bytes = static_cast<double>(bytes), .seconds = seconds, .fitted = other});
  }
  const LineFit fit = fit_line(sizes);
  for (std::size_t i = 0; i < sizes.size(); ++i) measured[first + i].fitted += fit.seconds(sizes[i]);
  LinkSpeed speed{
      .latency = fit.latency, .seconds_per_byte = fit.seconds_per_byte, .worst_residual = fit.worst_residual};
  clock.measure_overlap(kind, speed);
  return speed;
}

Link fit_link(FabricClock& clock, bool between, const PlannedWorld& world, const Fabric& fabric,
              std::vector<MeasuredCollective>& measured) {
  Link link;
  for (const CollectiveKind kind : kKinds)
    link.*way_of(kind).speed = fit_speed(clock, kind, between, world, fabric, measured);
  return link;
}

std::vector<std::string> notes_on(const Fabric& fabric) {
  std::vector<std::string> notes;
  if (!fabric.inside) {
    notes.push_back(
        "the speed inside a host is not measured: it takes several ranks on one host, mpirun -np 2 plumb "
        "doctor "
        "--bandwidth");
  }
  if (!fabric.between && fabric.hosts > 1) {
    notes.push_back(
        "the speed between hosts is not measured: with several ranks a host it takes --inside FILE, measured "
        "by "
        "as many ranks on one host, or a rank a host");
  }
  if (!fabric.between && fabric.hosts == 1) {
    notes.push_back(
        "the speed between hosts is not measured: it takes ranks on several hosts, mpirun -np 2 --map-by "
        "ppr:1:node --hostfile HOSTS plumb doctor --bandwidth");
  }
  return notes;
}

}  // namespace

FabricMeasurement measure_fabric(Communicator& host, Backend& backend, const Fabric* known, int rounds) {
  FabricMeasurement result;
  Fabric& fabric = result.fabric;
  fabric.ranks = host.world();
  fabric.hosts = even_hosts(host);
  if (fabric.hosts == 0)
    fail_input("ranks are to be numbered host by host, equally many on each: mpirun --map-by ppr:N:node");
  FabricClock clock(host, backend, rounds);
  fabric.library = clock.is_device() ? CollectiveLibrary::Nccl : CollectiveLibrary::Mpi;
  fabric.flops_per_second = clock.flops_per_second();
  const PlannedWorld world{fabric.ranks, fabric.ranks_per_host()};
  if (known != nullptr) fabric.inside = known->inside;
  if (fabric.hosts == 1 && fabric.ranks > 1)
    fabric.inside = fit_link(clock, false, world, fabric, result.collectives);
  if (fabric.hosts > 1 && (world.local() == 1 || fabric.inside))
    fabric.between = fit_link(clock, true, world, fabric, result.collectives);
  result.notes = notes_on(fabric);
  return result;
}

}  // namespace plumb
