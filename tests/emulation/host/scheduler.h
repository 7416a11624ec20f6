// Decides which stream runs next.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "host/operation.h"
#include "host/streams.h"

namespace plumb::emulation {

class Scheduler {
 public:
  Scheduler();

  void set_schedule(std::string_view schedule);
  void submit(CUstream_st& stream, const Recipe& recipe);
  void run_until(const std::function<bool()>& done, CUstream_st* wanted);
  bool poll(const std::function<bool()>& done, CUstream_st* wanted);
  void set_stall_limit(double seconds) { stall_limit_ = seconds; }
  void drop_all();
  bool idle() const { return busy_.empty(); }
  std::size_t choose(std::size_t count);

 private:
  enum class Schedule { Eager, Lazy, Random };

  /// One operation, or part of one. Blocked when none of those that may run now can.
  Advance advance(CUstream_st* wanted);
  Advance advance_any(const CUstream_st* except);
  Advance advance_towards(CUstream_st& stream);
  Advance step(CUstream_st& stream);
  bool waits_outside() const;
  std::string stall_report(double seconds) const;

  Schedule schedule_ = Schedule::Lazy;
  std::mt19937 random_;
  double stall_limit_;              ///< seconds
  std::vector<CUstream_st*> busy_;  ///< streams with operations, in the order of their numbers
};

Scheduler& scheduler();

}  // namespace plumb::emulation
