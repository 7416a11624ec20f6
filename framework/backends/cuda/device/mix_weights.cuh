// The mixing weights of several streams as kernels see them.
#pragma once

#include "backends/cuda/stream_entries.h"
#include "core/tensor.h"
#include "portability.cuh"

namespace plumb::cuda {

/// A row of them for each row of the streams, or one for all.
struct MixWeights {
  StreamEntries entries;
  const float* data;
  std::int64_t stride;  ///< 0: one row for all

  MixWeights(std::int64_t streams, const Tensor& weights)
      : entries{static_cast<int>(streams)},
        data(static_cast<const float*>(weights.data)),
        stride(weights.rows() == 1 ? 0 : weights.row_stride) {}
  __device__ __forceinline__ const float* row(std::int64_t r) const { return data + r * stride; }
};

}  // namespace plumb::cuda
