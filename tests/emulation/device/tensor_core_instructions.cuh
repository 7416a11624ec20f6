#pragma once
#include "portability.cuh"
#include "cuemu_tc.h"
namespace plumb::cuda {
template <class T>
inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  struct F { float d[4]; T a[8], b[4]; } f;
  memcpy(f.d, d, 16); memcpy(f.a, a, 16); memcpy(f.b, b, 8);
  cuemu::collective(0xffffffffu, "mma.sync.m16n8k16", &f, [](F** p) {
    float A[16][16], B[16][8];
    for (int l = 0; l < 32; l++) { int g = l >> 2, t = l & 3; for (int i = 0; i < 8; i++) A[g + (i & 2 ? 8 : 0)][t * 2 + (i & 1) + (i >= 4 ? 8 : 0)] = float(p[l]->a[i]); for (int i = 0; i < 4; i++) B[t * 2 + (i & 1) + (i >= 2 ? 8 : 0)][g] = float(p[l]->b[i]); }
    for (int l = 0; l < 32; l++) { int g = l >> 2, t = l & 3; for (int i = 0; i < 4; i++) { int r = g + (i >= 2 ? 8 : 0), c = t * 2 + (i & 1); float s = p[l]->d[i]; for (int k = 0; k < 16; k++) s += A[r][k] * B[k][c]; p[l]->d[i] = s; } } }, cuemu::Loc::current());
  memcpy(d, f.d, 16);
}
template <bool kTransposed>
inline void load_matrices(std::uint32_t (&matrices)[4], const void* row) {
  if (reinterpret_cast<std::uintptr_t>(row) & 15) cuemu::fail("ldmatrix: misaligned address");
  struct Arguments { const unsigned char* row; std::uint32_t matrices[4]; } mine{static_cast<const unsigned char*>(row), {}};
  cuemu::collective(0xffffffffu, kTransposed ? "ldmatrix.trans" : "ldmatrix", &mine, [](Arguments** lanes) {
    for (int l = 0; l < 32; l++)
      for (int i = 0; i < 4; i++)
        for (int e = 0; e < 2; e++) {
          const int r = kTransposed ? l % 4 * 2 + e : l / 4, c = kTransposed ? l / 4 : l % 4 * 2 + e;
          memcpy(reinterpret_cast<unsigned char*>(&lanes[l]->matrices[i]) + 2 * e, lanes[8 * i + r]->row + 2 * c, 2);
        }
  }, cuemu::Loc::current());
  memcpy(matrices, mine.matrices, sizeof matrices);
}
inline void load_matrix_x4(std::uint32_t (&matrices)[4], const void* row) { load_matrices<false>(matrices, row); }
inline void load_matrix_x4_transposed(std::uint32_t (&matrices)[4], const void* row) { load_matrices<true>(matrices, row); }
inline void copy_async_16(void* s, const void* g) { cp_async16(s, g); }
inline void copy_async_commit() { cp_async_commit(); }
template <int N> inline void copy_async_wait() { cp_async_wait<N>(); }
}  // namespace plumb::cuda
