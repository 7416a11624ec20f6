#include "fabric_clock.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;
/// Between two polls, where they are seldom: an op of a wide model.
constexpr double kSeldom = 0.016;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

RepeatedProduct::RepeatedProduct(Backend& backend)
    : backend_(backend), stream_(backend.create_stream()), memory_(backend.allocate(3 * kTensorBytes)) {
  auto* base = static_cast<char*>(memory_.data());
  const auto tensor = [&](std::size_t i) {
    return Tensor(base + i * kTensorBytes, DType::Float32, {kEdge, kEdge});
  };
  arguments_ = {.x = tensor(0), .weight = tensor(1), .bias = {}, .y = tensor(2), .workspace = {}};
  workspace_ = backend.allocate(backend.linear().linear_forward_workspace(arguments_));
  arguments_.workspace = {workspace_.data(), workspace_.bytes()};
}

void RepeatedProduct::run(int times) {
  for (int i = 0; i < times; ++i) backend_.linear().linear_forward(*stream_, arguments_);
  stream_->synchronize();
}

FabricClock::FabricClock(Communicator& host, Backend& backend, int rounds)
    : host_(host),
      product_(backend),
      memory_(backend.allocate_for_communication(static_cast<std::size_t>(kLargest))),
      device_(host.world() > 1 ? backend.make_communicator(host, product_.stream()) : nullptr),
      rounds_(rounds) {
  if (host.world() == 1) return;
  Communicator::Request request = start(CollectiveKind::AllReduce, 0, kLargest);
  communicator().wait(request);
}

double FabricClock::flops_per_second() {
  int times = 1;
  while (times < (1 << 16) && timed([&] { product_.run(times); }) < 0.02) times *= 2;
  return times * RepeatedProduct::flops() / timed([&] { product_.run(times); });
}

std::int64_t FabricClock::in_rows(CollectiveKind kind, std::int64_t bytes) const {
  constexpr std::int64_t kLine = 64;
  const std::int64_t unit = kind == CollectiveKind::AllReduce ? kLine : host_.world() * kLine;
  return std::max<std::int64_t>(1, bytes / unit) * unit;
}

double FabricClock::collective_seconds(CollectiveKind kind, std::int64_t bytes) {
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

void FabricClock::measure_overlap(CollectiveKind kind, LinkSpeed& speed) {
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

std::vector<double> FabricClock::timed(const Bodies& bodies) {
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

FabricClock::Overlap FabricClock::overlap(CollectiveKind kind, double product, int products, double times) {
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

std::int64_t FabricClock::next_place(std::int64_t bytes) {
  if (place_ + bytes > kLargest) place_ = 0;
  return std::exchange(place_, place_ + bytes);
}

Communicator::Request FabricClock::start(CollectiveKind kind, std::int64_t begin, std::int64_t bytes) {
  const Tensor tensor(static_cast<char*>(memory_.data()) + begin, DType::Float32, {bytes / 4});
  if (kind == CollectiveKind::ReduceScatter) return communicator().start_reduce_scatter("fabric", tensor);
  if (kind == CollectiveKind::AllGatherRows) return communicator().start_all_gather("fabric", tensor);
  return communicator().start_all_reduce("fabric", tensor);
}

void FabricClock::start_bucket(CollectiveKind kind, int bucket) {
  requests_[static_cast<std::size_t>(bucket)] = start(kind, bucket * kBucket, in_rows(kind, kBucket));
}

void FabricClock::finish() {
  for (Communicator::Request& request : requests_) communicator().wait(request);
}

void FabricClock::compute(int polls, int products, std::optional<CollectiveKind> kind) {
  for (int b = 0; b < kBuckets; ++b) {
    if (kind) start_bucket(*kind, b);
    for (int p = 0; p < polls; ++p) {
      product_.run(products);
      if (kind) communicator().progress();
    }
  }
  if (kind) finish();
}

}  // namespace plumb
