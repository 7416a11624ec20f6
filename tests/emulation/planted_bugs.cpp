// Runs one kernel of kernels/bugs.cu:  planted_bugs NAME ORDER [PARAMETER]
// ORDER is forward, reverse or random:SEED. Says "right", "wrong: element I is A, not B" or "failed: REPORT";
// the status is 0 for the first only, and a sanitizer's where that finds something.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "grid.h"
#include "kernels/bugs.h"
#include "settings.h"

namespace plumb::test {
namespace {

float given(unsigned i) { return static_cast<float>(i + 1); }
unsigned mirror(unsigned i) { return kBugElements - 1 - i; }

struct Case {
  const char* name;
  BugKernel* kernel;
  unsigned blocks;
  std::size_t shared_bytes;
  float (*expected)(unsigned i);  ///< y[i] of the kernel without its bug
  int launches = 1;
};

float same(unsigned i) { return given(i); }
float mirrored(unsigned i) { return given(mirror(i)); }
float neighbour(unsigned i) { return given(i ^ 1U); }
float untouched(unsigned) { return 0; }
float first_or_second(unsigned i) { return given(i < 16 ? 0 : 1); }
float two_sums(unsigned) { return 2 * (given(0) + given(1)) + 2 * 32; }
float clamped(unsigned i, unsigned from) { return given(i < from ? 0 : i - from); }
float doubled(unsigned i) { return 2 * given(i); }
/// Threads from 40 on end at once; the second warp's sum is not defined without them.
float sum_of_warp(unsigned i) { return i < 32 ? 32 * 33 / 2.0F : i < 40 ? 0 : untouched(i); }
float odd_sums(unsigned i) { return i % 2 == 1 ? given(i) + given(i - 1) : given(i); }
float sum_in_last(unsigned i) { return i < 9 ? given(i) : i == kBugElements - 1 ? 45 : 0; }

const Case kCases[] = {
    {"correct", correct, 2, 0, mirrored},
    {"missing_barrier_before_read", missing_barrier_before_read, 1, 0, mirrored},
    {"missing_barrier_before_next_write", missing_barrier_before_next_write, 1, 0, two_sums},
    {"barrier_in_two_branches", barrier_in_two_branches, 1, 0, first_or_second},
    {"shuffle_after_threads_ended", shuffle_after_threads_ended, 1, 0, sum_of_warp},
    {"shuffle_of_every_other_lane", shuffle_of_every_other_lane, 1, 0, odd_sums},
    {"static_shared_overrun", static_shared_overrun, 1, 0, [](unsigned i) { return clamped(i, 1); }},
    {"dynamic_shared_overrun", dynamic_shared_overrun, 1, kBugElements * sizeof(float),
     [](unsigned i) { return clamped(i, 8); }},
    {"global_overrun", global_overrun, 1, 0,
     [](unsigned i) { return i + 1 < kBugElements ? given(i + 1) : untouched(i); }},
    {"misaligned_vector", misaligned_vector, 1, 0,
     [](unsigned i) { return i == 0 ? given(1) : untouched(i); }},
    {"uninitialised_shared", uninitialised_shared, 1, 0, same},
    {"blocks_write_one_address", blocks_write_one_address, 2, 0, doubled},
    {"lock_step_assumed", lock_step_assumed, 1, 0, neighbour},
    {"shuffle_taken_for_a_fence", shuffle_taken_for_a_fence, 1, 0, neighbour},
    {"missing_wait_for_copies", missing_wait_for_copies, 1, 0, same},
    {"missing_barrier_after_copies", missing_barrier_after_copies, 1, 0, same},
    {"last_block_with_fences", last_block_with_fences, 9, 0, sum_in_last},
    {"distant_blocks_write_one_address", distant_blocks_write_one_address, 12, 0, same},
    {"late_race", late_race, 12, 0, nullptr},
    {"busy_blocks", busy_blocks, 9, kBugElements * sizeof(float), nullptr, 3},
    {"late_race_after_failure", late_race, 12, 0, nullptr, 2},
};

/// Exactly as large as needed, so that the address sanitizer guards its ends.
template <class T>
struct Array {
  explicit Array(std::size_t count) : memory(static_cast<T*>(std::aligned_alloc(16, count * sizeof(T)))) {
    std::memset(memory, 0, count * sizeof(T));
  }
  ~Array() { std::free(memory); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* memory;
};

int run(const Case& one, int parameter) {
  const Array<float> x(kBugElements), y(kBugElements);
  const Array<unsigned> zeroed(4);
  for (unsigned i = 0; i < kBugElements; ++i) x.memory[i] = given(i);
  const auto launch = [&](BugKernel* kernel) {
    return emulation::run_grid({one.name, dim3(one.blocks), dim3(kBugElements), one.shared_bytes},
                               [&] { kernel(y.memory, x.memory, zeroed.memory, parameter); });
  };
  if (std::strstr(one.name, "after_failure") != nullptr) static_cast<void>(launch(barrier_in_two_branches));
  for (int i = 0; i < one.launches; ++i) {
    if (!launch(one.kernel)) {
      std::printf("failed: %s\n", emulation::last_error().c_str());
      return 3;
    }
  }
  for (unsigned i = 0; one.expected != nullptr && i < kBugElements; ++i) {
    if (y.memory[i] == one.expected(i)) continue;
    std::printf("wrong: element %u is %g, not %g\n", i, static_cast<double>(y.memory[i]),
                static_cast<double>(one.expected(i)));
    return 4;
  }
  std::puts("right");
  return 0;
}

}  // namespace
}  // namespace plumb::test

int main(int count, char** arguments) {
  using namespace plumb;
  if (count < 3) return 2;
  emulation::settings() = emulation::parse_settings(arguments[2], "");
  for (const auto& one : test::kCases) {
    if (std::strcmp(one.name, arguments[1]) == 0)
      return test::run(one, count > 3 ? std::atoi(arguments[3]) : -1);
  }
  std::printf("no kernel is named %s\n", arguments[1]);
  return 2;
}
