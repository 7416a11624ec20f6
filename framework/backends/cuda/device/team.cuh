// Teams: the threads of a block that work on one row, a part of a warp, a warp, or the whole block.
#pragma once

#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_layout.cuh"

namespace plumb::cuda {

inline constexpr int kTeamBlock = 256;  ///< threads of a block

/// Every thread of a team of kTeam threads (a power of two up to 32, or kTeamBlock) ends with the sums over
/// the team, all of them in the same order. All threads of the block call it. `scratch` is shared memory for
/// kCount * kTeamBlock / 32 values and may be used again at once.
template <int kTeam, int kCount, class T>
__device__ __forceinline__ void team_sum(T (&values)[kCount], T* scratch) {
  static_assert(kTeam <= kWarp || kTeam == kTeamBlock);
  constexpr int kWarps = kTeamBlock / kWarp;
#pragma unroll
  for (int offset = (kTeam < kWarp ? kTeam : kWarp) / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] += __shfl_xor_sync(kWholeWarp, values[i], offset);
  }
  if constexpr (kTeam > kWarp) {
    __syncthreads();
    if (threadIdx.x % kWarp == 0) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) scratch[i * kWarps + threadIdx.x / kWarp] = values[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      values[i] = scratch[i * kWarps];
#pragma unroll
      for (int warp = 1; warp < kWarps; ++warp) values[i] += scratch[i * kWarps + warp];
    }
  }
}

/// A row as one thread of its team sees it: its packs stay in registers where there are at most kPacks of
/// them; with kPacks = 0 a row of any width is read again (from a cache, if all goes well) by every pass.
template <class Layout, int kPacks>
class TeamRow {
 public:
  using Element = typename Layout::Element;

  __device__ __forceinline__ TeamRow(const Layout& layout, const Element* row) : row_(row) {
#pragma unroll
    for (int pack = 0; pack < kPacks; ++pack) packs_[pack] = layout.read(row, pack);
  }
  __device__ __forceinline__ void values(const Layout& layout, int pack, float (&out)[Layout::kPack]) const {
    if constexpr (kPacks > 0) {
      Layout::to_floats(packs_[pack], out);
    } else {
      layout.read(row_, pack, out);
    }
  }

 private:
  const Element* row_;
  typename Layout::Packed packs_[kPacks > 0 ? kPacks : 1];
};

/// Calls body(pack) for every pack of a row in which this lane has something.
template <int kPacks, class Layout, class Body>
__device__ __forceinline__ void for_packs(const Layout& layout, Body&& body) {
  if constexpr (kPacks > 0) {
#pragma unroll
    for (int pack = 0; pack < kPacks; ++pack)
      if (layout.holds_any(pack)) body(pack);
  } else {
    for (int pack = 0; layout.holds_any(pack); ++pack) body(pack);
  }
}

}  // namespace plumb::cuda
