#include "fabric_measurement.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>

#include "core/error.h"
#include "cores.h"
#include "plan/collective_time.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kSmallest = 1 << 10, kLargest = 64 << 20;
/// Sums that are to be hidden: as large as a small bucket, several in a row.
constexpr std::int64_t kBucket = 4 << 20;
constexpr int kBuckets = 4;
/// Between two polls, where they are seldom: an op of a wide model.
constexpr double kSeldom = 0.016;

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

  /// Seconds of the slowest rank, the median of the rounds. A collective, as what follows.
  double timed(const std::function<void()>& body) {
    std::vector<double> seconds;
    body();
    for (int round = 0; round < rounds_; ++round) {
      host_.barrier("fabric");
      const auto begin = Clock::now();
      body();
      product_.stream().synchronize();
      seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    double slowest = median(seconds);
    host_.all_reduce("fabric", Tensor(&slowest, DType::Float64, {1}), ReduceOp::Max);
    return slowest;
  }

  double sum_seconds(std::int64_t bytes) {
    // Small ones many times over: ranks leave the barrier at slightly different times.
    const int times = static_cast<int>(std::clamp<std::int64_t>((1 << 20) / bytes, 1, 64));
    const auto sums = [&] {
      for (int i = 0; i < times; ++i) {
        Communicator::Request request = communicator().start_all_reduce("fabric", tensor(0, bytes));
        communicator().wait(request);
      }
    };
    return timed(sums) / times;
  }

  double flops_per_second() {
    int times = 1;
    while (times < (1 << 16) && timed([&] { product_.run(times); }) < 0.02) times *= 2;
    return times * Product::flops() / timed([&] { product_.run(times); });
  }

  /// What of sums goes on beside computing, and by how much a poll moves them.
  void measure_overlap(LinkSpeed& link) {
    const double product = timed([&] { product_.run(16); }) / 16;
    const Overlap often = overlap(product, 1, 2);
    link.hidden = often.hidden;
    if (device_ != nullptr || link.hidden < 0.05) return;
    const int seldom = std::max(1, static_cast<int>(kSeldom / product));
    const Overlap then = overlap(product, seldom, 1);
    // At least as if frequent polls had moved all of it.
    if (then.hidden < 0.9 * link.hidden)
      link.per_poll =
          std::max(often.alone / often.polls, then.hidden / link.hidden * then.alone / then.polls);
  }

 private:
  struct Overlap {
    double alone = 0;   ///< seconds of the sums
    double hidden = 0;  ///< 1 - (together - computing alone) / alone
    int polls = 0;      ///< while it computed
  };

  /// Of computing that takes `times` as long as the sums, with so many products between polls.
  Overlap overlap(double product, int products, double times) {
    Overlap result;
    result.alone = timed([&] {
      for (int b = 0; b < kBuckets; ++b) start(b);
      finish();
    });
    const int polls =
        std::max(1, static_cast<int>(std::lround(times * result.alone / kBuckets / product / products)));
    const double computing = timed([&] { compute(polls, products, false); }),
                 together = timed([&] { compute(polls, products, true); });
    result.hidden = std::clamp(1 - (together - computing) / result.alone, 0.0, 1.0);
    result.polls = kBuckets * (polls + 1);  // starting one polls, too
    return result;
  }

  Communicator& communicator() { return device_ ? *device_ : host_; }
  Tensor tensor(std::int64_t begin, std::int64_t bytes) const {
    return Tensor(static_cast<char*>(memory_.data()) + begin, DType::Float32, {bytes / 4});
  }
  void start(int bucket) {
    requests_[static_cast<std::size_t>(bucket)] =
        communicator().start_all_reduce("fabric", tensor(bucket * kBucket, kBucket));
  }
  void finish() {
    for (Communicator::Request& request : requests_) communicator().wait(request);
  }
  /// As a backward pass: a bucket, products, a bucket, products.
  void compute(int polls, int products, bool sums_too) {
    for (int b = 0; b < kBuckets; ++b) {
      if (sums_too) start(b);
      for (int p = 0; p < polls; ++p) {
        product_.run(products);
        if (sums_too) communicator().progress();
      }
    }
    if (sums_too) finish();
  }

  Communicator& host_;
  Product product_;
  Buffer memory_;
  std::unique_ptr<Communicator> device_;
  int rounds_;
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

/// Fits one link; what a sum takes of the other one is taken off.
LinkSpeed fit_link(Measurement& measurement, bool between, const PlannedWorld& world, const Fabric& fabric,
                   std::vector<MeasuredSum>& sums) {
  std::vector<TimedSize> sizes;
  for (std::int64_t bytes = kSmallest; bytes <= kLargest; bytes *= 4) {
    const double seconds = measurement.sum_seconds(bytes);
    const CollectiveCost cost =
        collective_cost(CollectiveKind::AllReduce, static_cast<double>(bytes), world, fabric);
    const LinkUse& use = between ? cost.between : cost.inside;
    double other = 0;
    if (between && fabric.inside)
      other = cost.inside.latencies * fabric.inside->latency +
              cost.inside.bytes * fabric.inside->seconds_per_byte;
    // A tenth at least: the difference of two measurements may be anything.
    sizes.push_back({use.latencies, use.bytes, std::max(seconds - other, 0.1 * seconds)});
    sums.push_back({.bytes = static_cast<double>(bytes), .seconds = seconds, .fitted = other});
  }
  const LineFit fit = fit_line(sizes);
  for (std::size_t i = 0; i < sizes.size(); ++i) sums[i].fitted += fit.seconds(sizes[i]);
  LinkSpeed link{
      .latency = fit.latency, .seconds_per_byte = fit.seconds_per_byte, .worst_residual = fit.worst_residual};
  measurement.measure_overlap(link);
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
    fabric.inside = fit_link(measurement, false, world, fabric, result.sums);
  if (fabric.hosts > 1 && (world.local() == 1 || fabric.inside))
    fabric.between = fit_link(measurement, true, world, fabric, result.sums);
  result.notes = notes_on(fabric);
  return result;
}

}  // namespace plumb
