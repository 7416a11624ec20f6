#include "backends/cuda/device/tensor_core.cuh"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

template <class T>
__device__ std::uint32_t pair_at(const T* elements) {
  return *reinterpret_cast<const std::uint32_t*>(elements);
}

/// Fragments from row-major a (16 rows) and b^T (8 rows) with that many elements a row.
template <class T>
__device__ void load_fragments(const T* a, const T* b_transposed, int stride, std::uint32_t (&a_fragment)[4],
                               std::uint32_t (&b_fragment)[2]) {
  const int group = static_cast<int>(threadIdx.x) / 4, column = static_cast<int>(threadIdx.x) % 4 * 2;
  a_fragment[0] = pair_at(a + group * stride + column);
  a_fragment[1] = pair_at(a + (group + 8) * stride + column);
  a_fragment[2] = pair_at(a + group * stride + column + 8);
  a_fragment[3] = pair_at(a + (group + 8) * stride + column + 8);
  b_fragment[0] = pair_at(b_transposed + group * stride + column);
  b_fragment[1] = pair_at(b_transposed + group * stride + column + 8);
}

__device__ void store_fragment(const float (&fragment)[4], float* d, int stride) {
  const int group = static_cast<int>(threadIdx.x) / 4, column = static_cast<int>(threadIdx.x) % 4 * 2;
  d[group * stride + column] = fragment[0];
  d[group * stride + column + 1] = fragment[1];
  d[(group + 8) * stride + column] = fragment[2];
  d[(group + 8) * stride + column + 1] = fragment[3];
}

}  // namespace

template <class T>
__global__ void product_16x8x16(const T* a, const T* b_transposed, float* d) {
  std::uint32_t a_fragment[4], b_fragment[2];
  load_fragments(a, b_transposed, 16, a_fragment, b_fragment);
  float sums[4] = {1, 1, 1, 1};
  cuda::mma_m16n8k16<T>(sums, a_fragment, b_fragment);
  store_fragment(sums, d, 8);
}
template __global__ void product_16x8x16<__nv_bfloat16>(const __nv_bfloat16*, const __nv_bfloat16*, float*);
template __global__ void product_16x8x16<__half>(const __half*, const __half*, float*);

template <class T>
__global__ void product_by_load_matrix(const T* a, const T* b, float* d) {
  PLUMB_SHARED(T, shared_a, [16][24]);
  PLUMB_SHARED(T, shared_b, [16][8]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) shared_a[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) shared_b[i / 8][i % 8] = b[i];
  __syncwarp();
  std::uint32_t a_fragment[4], b_fragment[2], b_again[4];
  // Matrices 0 and 1 are rows 0 to 7 and 8 to 15 of the left half, 2 and 3 those of the right half.
  cuda::load_matrix_x4(a_fragment, &shared_a[lane % 16][lane / 16 * 8]);
  cuda::load_matrix_x2_transposed(b_fragment, &shared_b[lane % 16][0]);
  cuda::load_matrix_x4_transposed(b_again, &shared_b[lane % 16][0]);
  float sums[4] = {};
  cuda::mma_m16n8k16<T>(sums, a_fragment, b_fragment);
  // Rows of b as if they were rows of b^T: not transposed, against the plain way.
  std::uint32_t rows[2];
  cuda::load_matrix_x2(rows, &shared_b[lane % 16][0]);
  const int group = lane / 4, column = lane % 4 * 2;
  const bool same = rows[0] == pair_at(&shared_b[group][column]) &&
                    rows[1] == pair_at(&shared_b[group + 8][column]) && b_again[0] == b_fragment[0] &&
                    b_again[1] == b_fragment[1] && b_again[2] == b_fragment[0] && b_again[3] == b_fragment[1];
  for (float& sum : sums) sum = same ? sum : -1e30F;
  store_fragment(sums, d, 8);
}
template __global__ void product_by_load_matrix<__nv_bfloat16>(const __nv_bfloat16*, const __nv_bfloat16*,
                                                               float*);
template __global__ void product_by_load_matrix<__half>(const __half*, const __half*, float*);

__global__ void tiled_product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int n, int k) {
  constexpr int kStride = 24;
  PLUMB_SHARED(__nv_bfloat16, shared_a, [2][16][kStride]);
  PLUMB_SHARED(__nv_bfloat16, shared_b, [2][8][kStride]);
  const int lane = static_cast<int>(threadIdx.x), row = lane / 2, column = lane % 2 * 8;
  const int first_row = static_cast<int>(blockIdx.y) * 16, first_column = static_cast<int>(blockIdx.x) * 8;
  const auto load = [&](int buffer, int k0) {
    cuda::copy_async_16(&shared_a[buffer][row][column], a + (first_row + row) * k + k0 + column);
    if (row < 8)
      cuda::copy_async_16(&shared_b[buffer][row][column], b + (first_column + row) * k + k0 + column);
    cuda::copy_async_commit();
  };
  float sums[4] = {};
  load(0, 0);
  for (int k0 = 0, buffer = 0; k0 < k; k0 += 16, buffer ^= 1) {
    if (k0 + 16 < k) {
      load(buffer ^ 1, k0 + 16);
      cuda::copy_async_wait<1>();
    } else {
      cuda::copy_async_wait<0>();
    }
    __syncwarp();
    std::uint32_t a_fragment[4], b_fragment[2];
    load_fragments(&shared_a[buffer][0][0], &shared_b[buffer][0][0], kStride, a_fragment, b_fragment);
    cuda::mma_m16n8k16<__nv_bfloat16>(sums, a_fragment, b_fragment);
    __syncwarp();
  }
  store_fragment(sums, c + first_row * n + first_column, n);
}

__global__ void copy_or_zero(const float4* x, const int* copied, float4* y) {
  PLUMB_SHARED(float4, values, [32]);
  cuda::copy_async_16_or_zero(&values[threadIdx.x], &x[threadIdx.x], copied[threadIdx.x] != 0);
  cuda::copy_async_commit();
  cuda::copy_async_wait<0>();
  y[threadIdx.x] = values[threadIdx.x];
}

}  // namespace plumb::test
