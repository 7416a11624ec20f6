// What this machine can do at best: fused multiply-adds from registers, and reading and copying arrays that
// fit its caches or its memory. Google Benchmark.
#pragma once

#include <functional>

namespace plumb::benchmarks {

/// Registers all of it with Google Benchmark, on one thread and on as many as there are cores.
void register_machine_limits();

/// Of one core, by the best of a few short runs.
struct CoreLimits {
  double operations_per_second;  ///< fp32 multiply and add counted apart; 0: not known
  double bytes_per_second;       ///< copied between arrays in memory, read and written bytes counted
};
CoreLimits measure_core_limits();

}  // namespace plumb::benchmarks
