// Kernels that do what CUDA forbids, one each, in the second block's thread 5 where that matters.
#pragma once

#include "portability.cuh"

namespace plumb::test {

__global__ void wait_in_two_branches();
__global__ void vote_in_one_branch();
__global__ void shuffle_from_ended_lane(float* y);
__global__ void shuffle_from_outside_the_mask(float* y);
__global__ void shuffle_without_being_in_the_mask(float* y);
__global__ void shuffle_with_two_masks(float* y);
__global__ void shuffle_in_two_branches(float* y);
__global__ void shuffle_of_odd_width(float* y);
__global__ void wait_for_a_warp_that_votes();
__global__ void product_of_half_a_warp(float* y);
__global__ void product_after_an_end(float* y);
__global__ void copy_without_wait(const float4* x);
__global__ void copy_without_commit(const float4* x);
__global__ void empty_groups_without_wait(const float4* x, float4* y);
__global__ void copy_to_misaligned(const float* x);
__global__ void copy_from_misaligned(const float* x);
__global__ void copy_to_global(const float4* x, float4* y);
__global__ void copy_from_shared();
__global__ void load_matrix_from_global(const float4* x);
__global__ void read_before_wait(const float4* x, float4* y);
__global__ void write_before_the_beginning();

}  // namespace plumb::test
