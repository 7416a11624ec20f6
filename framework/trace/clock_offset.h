// ClockOffset: how far the steady clocks of two ranks' hosts are apart, between bounds that cannot be wrong.
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.h"

namespace plumb {

/// This rank's clock minus that of rank 0, in nanoseconds.
struct ClockOffset {
  std::int64_t offset = 0;
  std::int64_t error = 0;     ///< the true offset lies within offset +- error
  bool same_clock = false;    ///< both ranks are of one host, and the bounds admit 0: it is 0
  std::int64_t at = 0;        ///< when it was measured, by this rank's clock
  std::int64_t first_at = 0;  ///< and by that of rank 0
};

/// What one rank saw of barriers, on its own clock: when it entered each and when it had left it.
struct BarrierTimes {
  std::span<const std::int64_t> entered, left;
};

/// Nobody leaves a barrier before everybody has entered it: in true time own.left >= first.entered and
/// first.left >= own.entered. So the offset is at most the least own.left - first.entered and at least the
/// greatest own.entered - first.left; the middle is taken. (Cristian, "Probabilistic clock synchronization",
/// Distributed Computing 3, 1989, with a barrier for the message.)
ClockOffset clock_offset(const BarrierTimes& own, const BarrierTimes& first);

/// The same of this rank, over some barriers, and when that was. A collective.
ClockOffset measure_clock_offset(Communicator& communicator);

}  // namespace plumb
