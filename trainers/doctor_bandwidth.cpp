// plumb doctor --bandwidth: how fast ranks talk and compute, for `plumb plan --fabric`.
#include <fmt/format.h>

#include <fstream>
#include <optional>

#include "backend/loader.h"
#include "commands.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "fabric_measurement.h"
#include "session.h"

namespace plumb {
namespace {

void print_link(const char* name, const std::optional<Link>& link) {
  if (!link) return;
  for (const LinkWay& way : kLinkWays) {
    const LinkSpeed& speed = (*link).*way.speed;
    const double rate = speed.seconds_per_byte > 0 ? 1e-9 / speed.seconds_per_byte : 0;
    fmt::print(
        "{:<8} {:<9} latency {:.2f} us, {:.3f} GB/s, {:.0f} % hidden beside computing; residuals up to {:.0f}"
        " %\n",
        name, way.name, 1e6 * speed.latency, rate, 100 * speed.hidden, 100 * speed.worst_residual);
    if (speed.per_poll < LinkSpeed::kNeedsNoPolls)
      fmt::print("{:<18} ranks that compute move it by {:.2f} ms at a call of progress()\n", "",
                 1e3 * speed.per_poll);
  }
}

void print_measurement(const FabricMeasurement& measured) {
  const Fabric& fabric = measured.fabric;
  fmt::print("{} rank(s) on {} host(s); an fp32 product makes {:.1f} GFLOP/s on each, all at once\n",
             fabric.ranks, fabric.hosts, fabric.flops_per_second / 1e9);
  if (!measured.collectives.empty())
    fmt::print("{:<9}{:>12}{:>14}{:>14}{:>12}\n", "", "bytes", "ms", "fitted ms", "residual");
  for (const MeasuredCollective& one : measured.collectives) {
    fmt::print("{:<9}{:>12.0f}{:>14.4f}{:>14.4f}{:>11.1f}%\n", way_of(one.kind).name, one.bytes,
               1e3 * one.seconds, 1e3 * one.fitted, 100 * (one.fitted / one.seconds - 1));
  }
  print_link("inside", fabric.inside);
  print_link("between", fabric.between);
  for (const std::string& note : measured.notes) fmt::print("note: {}\n", note);
}

void write(const std::string& path, const Fabric& fabric) {
  std::ofstream file(path);
  if (!(file << fabric_json(fabric)) || !file.flush()) fail_input("{}: cannot be written", path);
  fmt::print("{} is for `plumb plan --fabric`\n", path);
}

std::optional<Fabric> read_inside(Session& session, const std::string& path) {
  if (path.empty()) return std::nullopt;
  const Fabric fabric = parse_fabric(path, session.from_first([&] { return fabric_text(path); }));
  if (!fabric.inside) fail_input("{}: inside is null: one rank on a host measured it", path);
  return fabric;
}

}  // namespace

int run_doctor_bandwidth(const BandwidthOptions& options) {
  Session session;
  std::optional<Fabric> known;
  std::unique_ptr<Backend> backend;
  FabricMeasurement measured;
  if (!session.all_succeed([&] { known = read_inside(session, options.inside); })) return 2;
  const bool prepared = session.all_succeed([&] {
    set_thread_count(options.threads > 0 ? options.threads : session.default_thread_count());
    BackendOptions place;
    place.local_rank = session.launch().local_rank;
    place.local_size = session.launch().local_size;
    place.communicator = &session.communicator();
    backend = make_backend(options.device, place);
  });
  if (!prepared) return 2;
  if (!backend->has_communicator()) session.choose_sum_path({});
  const bool done = session.all_succeed([&] {
    measured = measure_fabric(session.communicator(), *backend, known ? &*known : nullptr, options.rounds);
  });
  if (!done) return 2;
  const bool written = session.all_succeed([&] {
    if (!session.is_first()) return;
    print_measurement(measured);
    if (!options.output.empty()) write(options.output, measured.fabric);
  });
  return written ? 0 : 2;
}

}  // namespace plumb
