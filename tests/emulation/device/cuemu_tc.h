// cuemu_tc.h - wrappers for the few PTX instructions a tensor-core kernel needs; real PTX under nvcc, emulated otherwise.
#pragma once
#include "cuemu.h"
#include <cstdint>
// D(16x8,f32) += A(16x16,bf16,row) * B(16x8,bf16,col): one warp
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  struct F { float d[4]; __nv_bfloat16 a[8], b[4]; } f; memcpy(f.d, d, 16); memcpy(f.a, a, 16); memcpy(f.b, b, 8);
  cuemu::collective(0xffffffffu, "mma.sync.m16n8k16", &f, [](F** p) {   // the last lane to arrive sees all 32 fragments
    float A[16][16], B[16][8];
    for (int l = 0; l < 32; l++) { int g = l >> 2, t = l & 3; for (int i = 0; i < 8; i++) A[g + (i & 2 ? 8 : 0)][t * 2 + (i & 1) + (i >= 4 ? 8 : 0)] = __bfloat162float(p[l]->a[i]); for (int i = 0; i < 4; i++) B[t * 2 + (i & 1) + (i >= 2 ? 8 : 0)][g] = __bfloat162float(p[l]->b[i]); }
    for (int l = 0; l < 32; l++) { int g = l >> 2, t = l & 3; for (int i = 0; i < 4; i++) { int r = g + (i >= 2 ? 8 : 0), c = t * 2 + (i & 1); float s = p[l]->d[i]; for (int k = 0; k < 16; k++) s += A[r][k] * B[k][c]; p[l]->d[i] = s; } } }, cuemu::Loc::current());
  memcpy(d, f.d, 16);
#endif
}
// cp.async 16 B: the emulator delays the copy until the matching wait, so a missing wait or barrier shows up as NaN
#if !defined(__CUDACC__)
namespace cuemu { struct CpAsync { struct C { void* d; const void* s; }; std::vector<std::vector<C>> groups{1}; uint64_t serial = 0; }; inline CpAsync& cpa() { static thread_local std::vector<CpAsync> v(1024); CpAsync& c = v[self().lin]; if (c.serial != E().serial) { c.groups.assign(1, {}); c.serial = E().serial; } return c; } }
#endif
__device__ __forceinline__ void cp_async16(void* dst, const void* src) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(dst))), "l"(src));
#else
  if ((reinterpret_cast<uintptr_t>(dst) | reinterpret_cast<uintptr_t>(src)) & 15) cuemu::fail("cp.async16: misaligned address");
  cuemu::cpa().groups.back().push_back({dst, src});
#endif
}
__device__ __forceinline__ void cp_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;");
#else
  cuemu::cpa().groups.emplace_back();
#endif
}
template <int N> __device__ __forceinline__ void cp_async_wait() {   // at most N groups stay in flight
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(N));
#else
  auto& g = cuemu::cpa().groups; while (g.size() - 1 > size_t(N)) { for (auto& c : g.front()) memcpy(c.d, c.s, 16); g.erase(g.begin()); }
#endif
}
