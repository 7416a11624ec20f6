// Rows on their way through shared memory: while a team works on one row, its next one is being copied.
#pragma once

#include "backends/cuda/device/team.cuh"
#include "backends/cuda/device/tensor_core.cuh"

namespace plumb::cuda {

/// One row in shared memory, as the thread sees it that copied its packs there.
template <class Layout>
struct StagedRow {
  const typename Layout::Packed* packs;

  __device__ __forceinline__ void values(const Layout&, int pack, float (&out)[Layout::kPack]) const {
    Layout::to_floats(load_pack<typename Layout::Packed>(packs + pack * kTeamBlock), out);
  }
};

/// Stages for a row of each of two tensors per team, in shared memory aligned to 16 bytes. A thread copies
/// its own packs and reads no others, so it waits for its own copies only, without a barrier.
template <class Layout>
class StagedRows {
 public:
  using Element = typename Layout::Element;
  using Packed = typename Layout::Packed;

  __device__ __forceinline__ StagedRows(unsigned char* shared, int width)
      : packs_(packs_of(width)), mine_(reinterpret_cast<Packed*>(shared) + threadIdx.x) {}

  /// Bytes of one stage of a block for rows of `width` columns.
  static constexpr std::size_t stage_bytes(int width) {
    return 2 * static_cast<std::size_t>(packs_of(width)) * kTeamBlock * sizeof(Packed);
  }

  /// Starts the copies of a row of both and closes them as a group; none where the layout has no columns.
  __device__ __forceinline__ void start(int stage, const Layout& layout, const Element* first,
                                        const Element* second) const {
#pragma unroll 4
    for (int pack = 0; pack < packs_; ++pack) {
      if (!layout.holds_any(pack)) break;
      copy_async_16(place(stage, 0) + pack * kTeamBlock, first + layout.column(pack, 0));
      copy_async_16(place(stage, 1) + pack * kTeamBlock, second + layout.column(pack, 0));
    }
    copy_async_commit();
  }
  __device__ __forceinline__ StagedRow<Layout> row(int stage, int tensor) const {
    return {place(stage, tensor)};
  }

 private:
  static __host__ __device__ constexpr int packs_of(int width) {
    return (width + Layout::kStep - 1) / Layout::kStep;
  }
  __device__ __forceinline__ Packed* place(int stage, int tensor) const {
    return mine_ + (stage * 2 + tensor) * packs_ * kTeamBlock;
  }

  int packs_;
  Packed* mine_;
};

}  // namespace plumb::cuda
