#include "trace/clock_offset.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "trace/trace_recorder.h"

namespace plumb {
namespace {

constexpr std::size_t kBarriers = 16;

}  // namespace

ClockOffset clock_offset(const BarrierTimes& own, const BarrierTimes& first) {
  std::int64_t low = std::numeric_limits<std::int64_t>::min(),
               high = std::numeric_limits<std::int64_t>::max();
  for (std::size_t i = 0; i < own.entered.size(); ++i) {
    low = std::max(low, own.entered[i] - first.left[i]);
    high = std::min(high, own.left[i] - first.entered[i]);
  }
  PLUMB_CHECK(low <= high, "a clock that jumped during barriers: an offset between {} and {} ns", low, high);
  const std::int64_t half = (high - low + 1) / 2;
  return {.offset = low + half, .error = half};
}

ClockOffset measure_clock_offset(Communicator& communicator) {
  std::array<std::int64_t, 2 * kBarriers> own{};
  for (std::size_t i = 0; i < kBarriers; ++i) {
    own[i] = TraceRecorder::now();
    communicator.barrier("clocks of the trace");
    own[kBarriers + i] = TraceRecorder::now();
  }
  std::array<std::int64_t, 2 * kBarriers> first = own;
  communicator.broadcast("clocks of the trace",
                         Tensor(first.data(), DType::Int64, {static_cast<std::int64_t>(first.size())}), 0);
  const auto times = [](const std::array<std::int64_t, 2 * kBarriers>& both) {
    return BarrierTimes{std::span(both).first(kBarriers), std::span(both).last(kBarriers)};
  };
  ClockOffset measured{.same_clock = true};
  if (communicator.rank() != 0) {
    measured = clock_offset(times(own), times(first));
    const std::vector<std::string>& hosts = communicator.hosts();
    const bool same_host = hosts[0] == hosts[static_cast<std::size_t>(communicator.rank())];
    if (same_host && std::abs(measured.offset) <= measured.error) measured = {.same_clock = true};
  }
  measured.at = own[0];
  measured.first_at = first[0];
  return measured;
}

}  // namespace plumb
