#include "fabric_measurement.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "core/error.h"
#include "cores.h"
#include "plan/collective_time.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;
/// Four times as large one after the other, and twice from kOften on: of these most of a step's bytes are,
/// and a line that cannot fit all sizes is to fit them.
constexpr std::int64_t kSmallest = 1 << 10, kOften = 1 << 20, kLargest = 64 << 20;
/// Collectives that are to be hidden: as large as a small bucket, several in a row.
constexpr std::int64_t kBucket = 4 << 20;
constexpr int kBuckets = 4;
/// Between two polls, where they are seldom: an op of a wide model.
constexpr double kSeldom = 0.016;
/// As a step without and with sharding starts them, one for each way of using a link.
constexpr std::array kKinds = {CollectiveKind::AllReduce, CollectiveKind::ReduceScatter,
                               CollectiveKind::AllGatherRows};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// y = x W^T of 256 rows and columns by 256, again and again: something to compute.
class Product {
 public:
  explicit Product(Backend& backend)
      : backend_(backend), stream_(backend.create_stream()), memory_(backend.allocate(3 * kTensorBytes)) {
    auto* base = static_cast<char*>(memory_.data());
    const auto tensor = [&](std::size_t i) {
      return Tensor(base + i * kTensorBytes, DType::Float32, {kEdge, kEdge});
    };
    arguments_ = {.x = tensor(0), .weight = tensor(1), .bias = {}, .y = tensor(2), .workspace = {}};
    workspace_ = backend.allocate(backend.linear().linear_forward_workspace(arguments_));
    arguments_.workspace = {workspace_.data(), workspace_.bytes()};
  }

  void run(int times) {
    for (int i = 0; i < times; ++i) backend_.linear().linear_forward(*stream_, arguments_);
    stream_->synchronize();
  }
  static double flops() { return 2.0 * kEdge * kEdge * kEdge; }
  Stream& stream() { return *stream_; }

 private:
  static constexpr std::int64_t kEdge = 256;
  static constexpr std::size_t kTensorBytes = kEdge * kEdge * sizeof(float);
  Backend& backend_;
  std::unique_ptr<Stream> stream_;
  Buffer memory_, workspace_;
  LinearForward arguments_;
};

class Measurement {
 public:
  Measurement(Communicator& host, Backend& backend, int rounds)
      : host_(host),
        product_(backend),
        memory_(backend.allocate_for_communication(static_cast<std::size_t>(kLargest))),
        device_(host.world() > 1 ? backend.make_communicator(host, product_.stream()) : nullptr),
        rounds_(rounds) {}

  bool is_device() const { return device_ != nullptr; }

  double collective_seconds(CollectiveKind kind, std::int64_t bytes) {
    // Small ones many times over: ranks leave the barrier at slightly different times.
    const int times = static_cast<int>(std::clamp<std::int64_t>((1 << 20) / bytes, 1, 64));
    const auto collectives = [&] {
      for (int i = 0; i < times; ++i) {
        Communicator::Request request = start(kind, next_place(bytes), bytes);
        communicator().wait(request);
      }
    };
    return timed(collectives) / times;
  }

  /// Writes all of the memory once: its first use, page by page, is no part of a collective.
  void touch() {
    Communicator::Request request = start(CollectiveKind::AllReduce, 0, kLargest);
    communicator().wait(request);
  }

  /// Bytes near these that can be cut into rows of equal size for all ranks, where the kind does that;
  /// aligned as a step's tensors are.
  std::int64_t in_rows(CollectiveKind kind, std::int64_t bytes) const {
    constexpr std::int64_t kLine = 64;
    const std::int64_t unit = kind == CollectiveKind::AllReduce ? kLine : host_.world() * kLine;
    return std::max<std::int64_t>(1, bytes / unit) * unit;
  }

  double flops_per_second() {
    int times = 1;
    while (times < (1 << 16) && timed([&] { product_.run(times); }) < 0.02) times *= 2;
    return times * Product::flops() / timed([&] { product_.run(times); });
  }

  /// What of collectives goes on beside computing, and by how much a poll moves them.
  void measure_overlap(CollectiveKind kind, LinkSpeed& speed) {
    const double product = timed([&] { product_.run(16); }) / 16;
    const Overlap often = overlap(kind, product, 1, 2);
    speed.hidden = often.hidden;
    if (device_ != nullptr || speed.hidden < 0.05) return;
    const int seldom = std::max(1, static_cast<int>(kSeldom / product));
    const Overlap then = overlap(kind, product, seldom, 1);
    // At least as if frequent polls had moved all of it.
    if (then.hidden < 0.9 * speed.hidden)
      speed.per_poll =
          std::max(often.alone / often.polls, then.hidden / speed.hidden * then.alone / then.polls);
  }

 private:
  struct Overlap {
    double alone = 0;   ///< seconds of the collectives
    double hidden = 0;  ///< 1 - (together - computing alone) / alone
    int polls = 0;      ///< while it computed
  };

  using Bodies = std::vector<std::function<void()>>;

  /// Of each body seconds of the slowest rank, the median of the rounds. They take turns, so that what slows
  /// the machine for a while slows them alike. A collective, as all that measures.
  std::vector<double> timed(const Bodies& bodies) {
    std::vector<std::vector<double>> seconds(bodies.size());
    for (const auto& body : bodies) body();
    product_.stream().synchronize();
    for (int round = 0; round < rounds_; ++round) {
      for (std::size_t i = 0; i < bodies.size(); ++i) {
        host_.barrier("fabric");
        const auto begin = Clock::now();
        bodies[i]();
        product_.stream().synchronize();
        seconds[i].push_back(std::chrono::duration<double>(Clock::now() - begin).count());
      }
    }
    std::vector<double> slowest;
    for (std::vector<double>& of_body : seconds) slowest.push_back(median(std::move(of_body)));
    host_.all_reduce("fabric",
                     Tensor(slowest.data(), DType::Float64, {static_cast<std::int64_t>(slowest.size())}),
                     ReduceOp::Max);
    return slowest;
  }
  double timed(const std::function<void()>& body) { return timed(Bodies{body}).front(); }

  /// Of computing that takes `times` as long as the collectives, with so many products between polls.
  Overlap overlap(CollectiveKind kind, double product, int products, double times) {
    const auto alone = [&] {
      for (int b = 0; b < kBuckets; ++b) start_bucket(kind, b);
      finish();
    };
    const int polls =
        std::max(1, static_cast<int>(std::lround(times * timed(alone) / kBuckets / product / products)));
    const std::vector<double> seconds =
        timed(Bodies{alone, [&] { compute(polls, products, {}); }, [&] { compute(polls, products, kind); }});
    return {.alone = seconds[0],
            .hidden = std::clamp(1 - (seconds[2] - seconds[1]) / seconds[0], 0.0, 1.0),
            .polls = kBuckets * (polls + 1)};  // starting one polls, too
  }

  Communicator& communicator() { return device_ ? *device_ : host_; }
  /// Of a step's buckets none is where the one before was: memory that caches have not just seen. The largest
  /// size is all of it.
  std::int64_t next_place(std::int64_t bytes) {
    if (place_ + bytes > kLargest) place_ = 0;
    return std::exchange(place_, place_ + bytes);
  }
  Communicator::Request start(CollectiveKind kind, std::int64_t begin, std::int64_t bytes) {
    const Tensor tensor(static_cast<char*>(memory_.data()) + begin, DType::Float32, {bytes / 4});
    if (kind == CollectiveKind::ReduceScatter) return communicator().start_reduce_scatter("fabric", tensor);
    if (kind == CollectiveKind::AllGatherRows) return communicator().start_all_gather("fabric", tensor);
    return communicator().start_all_reduce("fabric", tensor);
  }
  void start_bucket(CollectiveKind kind, int bucket) {
    requests_[static_cast<std::size_t>(bucket)] = start(kind, bucket * kBucket, in_rows(kind, kBucket));
  }
  void finish() {
    for (Communicator::Request& request : requests_) communicator().wait(request);
  }
  /// As a backward pass: a bucket, products, a bucket, products. Without a kind the products alone.
  void compute(int polls, int products, std::optional<CollectiveKind> kind) {
    for (int b = 0; b < kBuckets; ++b) {
      if (kind) start_bucket(*kind, b);
      for (int p = 0; p < polls; ++p) {
        product_.run(products);
        if (kind) communicator().progress();
      }
    }
    if (kind) finish();
  }

  Communicator& host_;
  Product product_;
  Buffer memory_;
  std::unique_ptr<Communicator> device_;
  int rounds_;
  std::int64_t place_ = 0;
  std::array<Communicator::Request, kBuckets> requests_;
};

/// Hosts with equally many ranks each, which are neighbours in number; 0 where they are not.
int even_hosts(const Communicator& communicator) {
  const std::vector<std::string> hosts = distinct_hosts(communicator.hosts());
  const auto count = hosts.size(), world = communicator.hosts().size(), each = world / count;
  for (std::size_t rank = 0; rank < world; ++rank)
    if (rank / each >= count || communicator.hosts()[rank] != hosts[rank / each]) return 0;
  return static_cast<int>(count);
}

/// Fits one way of using a link; what the collective takes of the other link is taken off.
LinkSpeed fit_speed(Measurement& measurement, CollectiveKind kind, bool between, const PlannedWorld& world,
                    const Fabric& fabric, std::vector<MeasuredCollective>& measured) {
  std::vector<TimedSize> sizes;
  const std::size_t first = measured.size();
  for (std::int64_t size = kSmallest; size <= kLargest; size *= size < kOften ? 4 : 2) {
    const std::int64_t bytes = measurement.in_rows(kind, size);
    const double seconds = measurement.collective_seconds(kind, bytes);
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
  measurement.measure_overlap(kind, speed);
  return speed;
}

Link fit_link(Measurement& measurement, bool between, const PlannedWorld& world, const Fabric& fabric,
              std::vector<MeasuredCollective>& measured) {
  Link link;
  measurement.touch();
  for (const CollectiveKind kind : kKinds)
    link.*way_of(kind).speed = fit_speed(measurement, kind, between, world, fabric, measured);
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
  Measurement measurement(host, backend, rounds);
  fabric.library = measurement.is_device() ? CollectiveLibrary::Nccl : CollectiveLibrary::Mpi;
  fabric.flops_per_second = measurement.flops_per_second();
  const PlannedWorld world{fabric.ranks, fabric.ranks_per_host()};
  if (known != nullptr) fabric.inside = known->inside;
  if (fabric.hosts == 1 && fabric.ranks > 1)
    fabric.inside = fit_link(measurement, false, world, fabric, result.collectives);
  if (fabric.hosts > 1 && (world.local() == 1 || fabric.inside))
    fabric.between = fit_link(measurement, true, world, fabric, result.collectives);
  result.notes = notes_on(fabric);
  return result;
}

}  // namespace plumb
