// The plan that serves an attention request.
#pragma once

#include "backends/cuda/attention_request.h"
#include "backends/cuda/cudnn/execution_plan.h"

namespace plumb::cuda {

/// For a request that library_attention_refusal() has nothing against.
PlanSearch find_attention_plan(const AttentionRequest& request, const PlanDevice& device);

}  // namespace plumb::cuda
