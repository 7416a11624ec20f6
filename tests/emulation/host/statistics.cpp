#include "host/statistics.h"

#include <fmt/format.h>

#include <cstdio>

#include "host/environment.h"

namespace plumb::emulation {
namespace {

/// Prints in its destructor: when the process ends or the plug-in is unloaded.
struct Report {
  ~Report() {
    if (text_setting("PLUMB_EMULATION_STATISTICS"))
      fmt::print(stderr, "[emulated GPU, rank {}] {}\n", process_rank(), describe(statistics()));
  }
};

}  // namespace

Statistics& statistics() {
  static Statistics counters;
  static const Report report;
  return counters;
}

std::string describe(const Statistics& s) {
  return fmt::format(
      "{} allocations, {} frees, {} bytes now, {} at the peak; {} operations ({} launches, {} copies, {} "
      "matrix "
      "products, {} collectives), {} graph launches, longest queue {}, device memory opened {} times",
      s.allocations, s.frees, s.current_bytes, s.peak_bytes, s.operations, s.launches, s.copies, s.products,
      s.collectives, s.graph_launches, s.longest_queue, s.access_changes);
}

}  // namespace plumb::emulation

extern "C" __attribute__((visibility("default"))) void plumb_emulation_memory(std::uint64_t* allocations,
                                                                              std::uint64_t* current_bytes,
                                                                              std::uint64_t* peak_bytes) {
  const plumb::emulation::Statistics& s = plumb::emulation::statistics();
  *allocations = s.allocations;
  *current_bytes = s.current_bytes;
  *peak_bytes = s.peak_bytes;
}
