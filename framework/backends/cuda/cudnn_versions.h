// The versions of cuDNN whose attention is used. No header of CUDA is included: `plumb doctor` reads it too.
#pragma once

namespace plumb::cuda {

/// The versions that the plans were tried with, and whose numbers cudnn/attention_plan.cpp knows; as
/// cudnnGetVersion() counts. Others are refused: our own kernels serve.
inline constexpr long kOldestCudnn = 91801, kFirstUnknownCudnn = 92300;

constexpr bool takes_cudnn(long version) { return version >= kOldestCudnn && version < kFirstUnknownCudnn; }

}  // namespace plumb::cuda
