// mma.sync, ldmatrix and cp.async (PTX ISA, sections on warp-level matrix and asynchronous copy
// instructions).
#pragma once

#include "portability.cuh"

namespace plumb::cuda {

/// d (16x8, fp32) += a (16x16, row-major) b (16x8, column-major); one warp, fragments as mma.m16n8k16 lays
/// them out: with g = lane / 4 and t = lane % 4, a holds rows g, g + 8 (registers 0 2 and 1 3) of columns 2t,
/// 2t + 1 (registers 0 1) and 2t + 8, 2t + 9 (2 3); b holds column g of rows 2t, 2t + 1 (0) and 2t + 8, 2t +
/// 9 (1); d holds row g of columns 2t, 2t + 1 (0 1) and row g + 8 (2 3).
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]);
template <>
__device__ __forceinline__ void mma_m16n8k16<__nv_bfloat16>(float (&d)[4], const std::uint32_t (&a)[4],
                                                            const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void mma_m16n8k16<__half>(float (&d)[4], const std::uint32_t (&a)[4],
                                                     const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// Fragments from shared memory: matrices of 8x8 elements of 16 bits, whose rows are 16 bytes, aligned to 16.
/// Lane 8 m + r gives the address of row r of matrix m (two matrices: lanes 16 to 31 are not asked).
/// registers[m] receives elements 2t and 2t + 1 of row g of matrix m, g = lane / 4, t = lane % 4; transposed:
/// rows 2t and 2t + 1 of column g.
__device__ __forceinline__ void load_matrix_x2(std::uint32_t (&registers)[2], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(registers[0]), "=r"(registers[1])
               : "r"(shared_address(shared_row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x2_transposed(std::uint32_t (&registers)[2],
                                                          const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(registers[0]), "=r"(registers[1])
               : "r"(shared_address(shared_row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&registers)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(shared_row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(std::uint32_t (&registers)[4],
                                                          const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

// "memory" keeps the compiler from moving accesses to shared memory across these.

/// Starts a copy of 16 bytes from global to shared memory, both aligned to 16.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global)
               : "memory");
}
/// As copy_async_16 if `copied`; otherwise the 16 bytes become zero, and nothing is read.
__device__ __forceinline__ void copy_async_16_or_zero(void* shared, const void* global, bool copied) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(copied ? 16 : 0)
               : "memory");
}
/// Closes the group of copies started since the last call.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most kGroups of this thread's groups are under way; other threads' copies need a barrier
/// too.
template <int kGroups>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

}  // namespace plumb::cuda
