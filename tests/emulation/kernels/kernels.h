// Kernels of the tests of the emulated device; nvcc compiles them too, so that the emulation has no word that
// CUDA lacks.
#pragma once

#include <cstdint>

#include "portability.cuh"

namespace plumb::test {

// threads.cu
/// places: 12 numbers a thread: threadIdx, blockIdx, blockDim, gridDim.
__global__ void write_places(unsigned* places);
/// order[i] = the i-th thread of the grid to run (by block, then rank in it); counter starts at 0.
__global__ void write_order(unsigned* order, unsigned* counter);

// barriers.cu
/// One block: y[i] = x[threads - 1 - i].
__global__ void reverse_block(const float* x, float* y);
/// One block; threads from `live` on end at once. results: count, and, or of (flags[i] != 0) as every
/// remaining thread saw them, three numbers a thread.
__global__ void vote_of_block(const int* flags, int live, int* results);
/// sums[block] = sum over the block's threads of x, by a tree in shared memory.
__global__ void tree_sum(const float* x, float* sums);

// warps.cu
enum class ShuffleKind { Index, Up, Down, Xor };
/// One warp: y[lane] = what the shuffle gives.
template <class T>
__global__ void shuffle_lanes(ShuffleKind kind, int selector, int width, const T* x, T* y);
/// One warp: lanes of `mask` alone rotate their values by the selectors, by __shfl_sync.
__global__ void shuffle_some_lanes(unsigned mask, const int* sources, const float* x, float* y);
/// One warp; five numbers a lane: ballot, any, all over `mask`, ballot with the lanes outside of it, and
/// __match_any_sync of the flags over the whole warp.
__global__ void vote_of_warp(unsigned mask, const int* flags, unsigned* results);
/// One warp; over the lanes of `mask`: add, min, max as int, then as unsigned, then and, or, xor.
__global__ void reduce_lanes(unsigned mask, const int* x, std::uint32_t* results);
/// One warp: y[lane] = x[lane ^ 1], through shared memory and __syncwarp.
__global__ void swap_neighbours(const float* x, float* y);
/// A warp of which lanes from `live` on end first: y[lane] = how many lanes voted.
__global__ void vote_of_remaining_lanes(int live, unsigned* y);

// atomics.cu
/// counts[x[i]] += 1.
__global__ void histogram(const int* x, int elements, unsigned* counts);
/// One block over cells of `start`: add, sub, exch, min, max, and, or, xor, each by every thread's index.
template <class T>
__global__ void combine_atomically(T* cells, T* old_of_first_thread);
__global__ void count_up_and_down(unsigned* up, unsigned* down, unsigned limit);
__global__ void compare_and_swap(int* cell, int* winners);
/// partials[block] = block + 1; the block that is last to draw a ticket sums them.
__global__ void last_block_sums(float* partials, unsigned* ticket, float* sum);

// functions.cu
inline constexpr int kBitResults = 16, kRealResults = 31, kConversions = 16;
__global__ void bit_functions(const std::uint32_t* a, const std::uint32_t* b, std::uint64_t* results);
__global__ void real_functions(const float* x, float* results);
__global__ void conversions(const float* x, std::int64_t* results);
__global__ void half_conversions(const float* x, float* results);
__global__ void cached_accesses(const float4* x, float4* y, const double* a, double* b);

// shared.cu
/// Every thread reads what nobody wrote: static, then dynamic shared memory.
__global__ void read_unwritten(float* y);
/// Addresses of two static arrays and the dynamic one, modulo 128, as thread 0 sees them.
__global__ void shared_alignments(unsigned* remainders);
__global__ void fill_dynamic(int elements, float* sum);
template <int kBytes>
__global__ void use_static(float* y);

// tensor_core.cu
/// One warp: d (16x8) += a (16x16, row-major) b (16x8), elements bf16 or fp16; transposed b is (8x16).
template <class T>
__global__ void product_16x8x16(const T* a, const T* b_transposed, float* d);
/// As product_16x8x16, but the fragments come by load_matrix, b (16x8) row-major by the transposed one.
template <class T>
__global__ void product_by_load_matrix(const T* a, const T* b, float* d);
/// c (m,n) = a (m,k) b^T (n,k): a warp per tile of 16x8, tiles of k double-buffered by asynchronous copies.
__global__ void tiled_product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int n, int k);
/// y[i] = copied[i] ? x[i] : 0, 4 elements a thread.
__global__ void copy_or_zero(const float4* x, const int* copied, float4* y);

}  // namespace plumb::test
