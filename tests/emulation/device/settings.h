// How the emulated device runs blocks and threads: nothing here may change a correct kernel's results.
#pragma once

#include <cstdint>
#include <string>

namespace plumb::emulation {

/// In which order runnable threads get their turn, and blocks theirs.
enum class Order { Forward, Reverse, Random };

struct Settings {
  Order order = Order::Forward;
  std::uint32_t seed = 1;  ///< of Order::Random
  int workers = 1;         ///< operating-system threads that run blocks; 1 under the thread sanitizer
};

/// `threads` is "forward", "reverse" or "random:SEED", `workers` a number from 1 to 256; an empty text is the
/// default. Throws std::invalid_argument that says what would be right.
Settings parse_settings(const std::string& threads, const std::string& workers);

/// What launches follow. At first use $PLUMB_EMULATION_THREADS and $PLUMB_EMULATION_WORKERS are read; tests
/// may change it between launches.
Settings& settings();

}  // namespace plumb::emulation
