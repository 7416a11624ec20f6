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

/// Four 8x8 matrices of 16-bit elements from shared memory to one warp: lane l gives the address, aligned to
/// 16, of row l % 8 of matrix l / 8, and gets in register i elements 2t, 2t + 1 of row g of matrix i.
__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&matrices)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row))));
}
/// As load_matrix_x4, but of the transposes: register i holds elements g of rows 2t, 2t + 1 of matrix i.
__device__ __forceinline__ void load_matrix_x4_transposed(std::uint32_t (&matrices)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row))));
}

/// Starts a copy of 16 bytes from global to shared memory, both aligned to 16.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global));
}
/// Closes the group of copies started since the last call.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;"); }
/// Waits until at most kGroups of this thread's groups are under way; other threads' copies need a barrier
/// too.
template <int kGroups>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups));
}

}  // namespace plumb::cuda
