// Which attention calls are left to our own kernels.
#pragma once

#include <string>

#include "backends/cuda/attention_request.h"

namespace plumb::cuda {

/// Why the vendor's library may not serve the request on a device of this compute capability (90 = sm_90), in
/// words that follow "because"; empty when nothing is known against it.
///
/// Limits of widths and of T = 1: support matrix of cuDNN 9.18,
/// https://docs.nvidia.com/deeplearning/cudnn/frontend/latest/operations/Attention.html, and the known issues
/// in the release notes of the same version.
std::string library_attention_refusal(const AttentionRequest& request, int compute_capability);

}  // namespace plumb::cuda
