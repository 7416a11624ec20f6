// Kernels with one planted bug each, the kinds of bug that the emulated device and the sanitizers are there
// to find, and a few without. They run in a program of their own (planted_bugs.cpp), built plainly and with
// sanitizers.
#pragma once

#include "portability.cuh"

namespace plumb::test {

/// x holds kBugElements numbers, y as many; blocks of kBugElements threads.
inline constexpr unsigned kBugElements = 64;
using BugKernel = void(float* y, const float* x, unsigned* zeroed, int parameter);

__global__ BugKernel correct;
__global__ BugKernel missing_barrier_before_read;
__global__ BugKernel missing_barrier_before_next_write;
__global__ BugKernel barrier_in_two_branches;
__global__ BugKernel shuffle_after_threads_ended;
__global__ BugKernel shuffle_of_every_other_lane;
__global__ BugKernel static_shared_overrun;
__global__ BugKernel dynamic_shared_overrun;
__global__ BugKernel global_overrun;
__global__ BugKernel misaligned_vector;
__global__ BugKernel uninitialised_shared;
__global__ BugKernel blocks_write_one_address;
__global__ BugKernel lock_step_assumed;
__global__ BugKernel shuffle_taken_for_a_fence;
__global__ BugKernel missing_wait_for_copies;
__global__ BugKernel missing_barrier_after_copies;

// For the thread sanitizer alone.
/// Correct: the last of all blocks sums what the others wrote, behind fences.
__global__ BugKernel last_block_with_fences;
/// Blocks 0 and `parameter` write the same elements.
__global__ BugKernel distant_blocks_write_one_address;
/// In block `parameter` only, after shared memory, barriers, votes and copies of blocks before it.
__global__ BugKernel late_race;
/// Correct; every thread of a block writes, reads and writes again what others wrote, block after block.
__global__ BugKernel busy_blocks;

}  // namespace plumb::test
