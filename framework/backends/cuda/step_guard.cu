#include "backend/guard_rules.h"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/optimizer.h"

namespace plumb::cuda {
namespace {

constexpr int kGuardThreads = 256;

struct GuardArguments {
  GuardRules rules;
  const double *squares, *losses;
  std::int64_t tensors, ranks;
  double targets;
  double *state, *tensor_factors, *step_scalars;
};

/// One block. The state comes into shared memory, where thread 0 decides about the step; then every thread
/// takes its share of the tensors.
__global__ void __launch_bounds__(kGuardThreads) guard_kernel(const GuardArguments arguments) {
  PLUMB_SHARED(double, state, [kGuardState]);
  PLUMB_SHARED(double, scratch, [kGuardThreads / kWarp]);
  double* scalars = arguments.step_scalars;
  for (int i = static_cast<int>(threadIdx.x); i < kGuardState; i += kGuardThreads)
    state[i] = arguments.state[i];
  __syncthreads();
  if (threadIdx.x == 0) {
    decide_guard(arguments.rules, arguments.losses, arguments.ranks, arguments.targets, &state[0], scalars,
                 [](double square) { return sqrt(square); });
  }
  __syncthreads();
  if (arguments.rules.tensor_ratio > 0) {
    const bool skip = scalars[kStepSkipFactor] == 0, clips = clips_tensors(arguments.rules, &state[0]);
    const double clip_factor = scalars[kStepClipFactor], loss_scale = scalars[kStepAppliedLossScale];
    double clipped = 0;
    for (std::int64_t n = threadIdx.x; n < arguments.tensors; n += kGuardThreads) {
      double factor = 1;
      if (!skip) {
        const double norm = sqrt(arguments.squares[n]) / loss_scale;
        factor = guard_tensor(arguments.rules, clips, norm, clip_factor, arguments.state[kGuardState + n]);
      }
      arguments.tensor_factors[n] = factor;
      clipped += factor < 1 ? 1 : 0;
    }
    clipped = block_reduce<kGuardThreads>(clipped, Add{}, &scratch[0]);
    __syncthreads();
    if (threadIdx.x == 0 && !skip) finish_guard(clips, clipped, &state[0], scalars);
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < kGuardState; i += kGuardThreads)
    arguments.state[i] = state[i];
}

}  // namespace

void launch_guard_step(cudaStream_t stream, const StepGuard& arguments) {
  const GuardArguments values{arguments.rules,
                              static_cast<const double*>(arguments.squares.data),
                              static_cast<const double*>(arguments.losses.data),
                              arguments.squares.elements(),
                              arguments.losses.defined() ? arguments.losses.elements() : 0,
                              arguments.targets,
                              static_cast<double*>(arguments.state.data),
                              static_cast<double*>(arguments.tensor_factors.data),
                              static_cast<double*>(arguments.step_scalars.data)};
  launch({"guard_step", dim3(1), dim3(kGuardThreads), 0, stream}, guard_kernel, values);
}

}  // namespace plumb::cuda
