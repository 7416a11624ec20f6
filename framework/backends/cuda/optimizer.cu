#include "backend/step_rules.h"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/tensor_pieces.cuh"
#include "backends/cuda/optimizer.h"

namespace plumb::cuda {
namespace {

constexpr int kPack = 4;

enum class CopyKind : std::uint8_t { None, Float32, BFloat16, Float16 };

struct UpdateEntry {
  float *parameter, *momentum, *variance;  // variance null for SGD
  const float* gradient;
  void* copy;
  std::int64_t elements;
  float rate_scale, decay, epsilon;
  CopyKind copy_kind;
  bool whole;  ///< packs of every tensor can be accessed at once
};
using UpdatePieces = TensorPieces<UpdateEntry, 54>;
static_assert(sizeof(UpdatePieces) <= 3900, "kernel arguments have 4 KB");

/// What all elements of a launch share of the step-scalar buffer, in fp32 but worked out in float64.
struct StepFactors {
  float rate, clip, inverse_correction1, inverse_root_correction2;
};

__device__ __forceinline__ StepFactors step_factors(const double* scalars, double tensor_factor) {
  return {static_cast<float>(scalars[kStepLearningRate]),
          static_cast<float>(tensor_factor * scalars[kStepClipFactor] / scalars[kStepLossScale]),
          static_cast<float>(1 / scalars[kStepBiasCorrection1]),
          static_cast<float>(1 / sqrt(scalars[kStepBiasCorrection2]))};
}

/// The rules make the new value of one element from the old one and change its state. With kLag they add to
/// the last two of the sums: g^2 / max(v^, eps^2), and 1 where sqrt(v^) < eps.
template <bool kLag>
struct AdamRule {
  static constexpr bool kHasVariance = true;
  static constexpr int kLeastBlocks = kArchitecture == 80 && kLag ? 2 : 0;
  float beta1, beta2, complement1, complement2;

  __device__ __forceinline__ float new_value(const StepFactors& step, const UpdateEntry& entry, float value,
                                             float gradient, float& momentum, float& variance,
                                             double (&sums)[kUpdateSums]) const {
    const float g = step.clip * gradient;
    momentum = beta1 * momentum + complement1 * g;
    variance = beta2 * variance + complement2 * g * g;
    const float root = sqrtf(variance) * step.inverse_root_correction2;
    const float direction = momentum * step.inverse_correction1 / (root + entry.epsilon);
    if constexpr (kLag) {
      // Of the root, not of v: squares of a small eps are not in fp32.
      const float relative = g / (root < entry.epsilon ? entry.epsilon : root);
      sums[2] += static_cast<double>(relative) * static_cast<double>(relative);
      sums[3] += root < entry.epsilon ? 1.0 : 0.0;
    }
    return value - step.rate * entry.rate_scale * (direction + entry.decay * value);
  }
};
struct SgdRule {
  static constexpr bool kHasVariance = false;
  static constexpr int kLeastBlocks = 0;
  float mu;

  __device__ __forceinline__ float new_value(const StepFactors& step, const UpdateEntry& entry, float value,
                                             float gradient, float& momentum, float&,
                                             double (&)[kUpdateSums]) const {
    momentum = mu * momentum + step.clip * gradient;
    return value - step.rate * entry.rate_scale * (momentum + entry.decay * value);
  }
};

template <int kCount>
__device__ __forceinline__ void write_copy(const UpdateEntry& entry, std::int64_t at,
                                           const float (&values)[kCount]) {
  if (entry.copy_kind == CopyKind::BFloat16)
    store<kCount>(static_cast<__nv_bfloat16*>(entry.copy) + at, values);
  if (entry.copy_kind == CopyKind::Float16) store<kCount>(static_cast<__half*>(entry.copy) + at, values);
  if (entry.copy_kind == CopyKind::Float32) store<kCount>(static_cast<float*>(entry.copy) + at, values);
}

/// Elements [at, at + kCount). sums += squares of the changes, squares of the old values, and what the rule
/// adds.
template <int kCount, class Rule>
__device__ __forceinline__ void update(const Rule& rule, const StepFactors& step, const UpdateEntry& entry,
                                       std::int64_t at, double (&sums)[kUpdateSums]) {
  float value[kCount], gradient[kCount], momentum[kCount], variance[kCount] = {};
  load<kCount>(entry.parameter + at, value);
  load<kCount>(entry.gradient + at, gradient);
  load<kCount>(entry.momentum + at, momentum);
  if constexpr (Rule::kHasVariance) load<kCount>(entry.variance + at, variance);
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const float before = value[j];
    value[j] = rule.new_value(step, entry, before, gradient[j], momentum[j], variance[j], sums);
    const double change = static_cast<double>(value[j]) - static_cast<double>(before);
    sums[0] += change * change;
    sums[1] += static_cast<double>(before) * static_cast<double>(before);
  }
  store<kCount>(entry.parameter + at, value);
  store<kCount>(entry.momentum + at, momentum);
  if constexpr (Rule::kHasVariance) store<kCount>(entry.variance + at, variance);
  write_copy<kCount>(entry, at, value);
}

/// What a skipped step reports: nothing has changed.
template <int kCount>
__device__ __forceinline__ void measure(const UpdateEntry& entry, std::int64_t at,
                                        double (&sums)[kUpdateSums]) {
  float value[kCount];
  load<kCount>(entry.parameter + at, value);
#pragma unroll
  for (int j = 0; j < kCount; ++j) sums[1] += static_cast<double>(value[j]) * static_cast<double>(value[j]);
}

/// One pass over everything: for AdamW 16 bytes read and 12 written per element, and the compute copy.
template <class Rule>
__global__ void __launch_bounds__(kPieceThreads, Rule::kLeastBlocks)
    update_kernel(const UpdatePieces pieces, Rule rule, const double* scalars, const double* tensor_factors,
                  double* partials) {
  PLUMB_SHARED(StepFactors, shared_step, [1]);
  const Piece piece = piece_of_block(pieces);
  if (threadIdx.x == 0) {
    const double factor = tensor_factors == nullptr ? 1 : tensor_factors[pieces.first_tensor + piece.tensor];
    shared_step[0] = step_factors(scalars, factor);
  }
  __syncthreads();
  const StepFactors step = shared_step[0];
  const bool skip = scalars[kStepSkipFactor] == 0;
  const UpdateEntry entry = pieces.entries[piece.tensor];
  double sums[kUpdateSums] = {};
  const auto run = [&](auto count, std::int64_t at) {
    if (skip) {
      measure<count()>(entry, at, sums);
    } else {
      update<count()>(rule, step, entry, at, sums);
    }
  };
  for (std::int64_t at = piece.begin + std::int64_t{threadIdx.x} * kPack; at < piece.end;
       at += kPieceThreads * kPack) {
    if (entry.whole && at + kPack <= piece.end) {
      run(std::integral_constant<int, kPack>{}, at);
    } else {
      for (std::int64_t i = at; i < at + kPack && i < piece.end; ++i)
        run(std::integral_constant<int, 1>{}, i);
    }
  }
  if (partials != nullptr) leave_piece(pieces, sums, partials);
}

constexpr int kClipThreads = 256;

/// The block loads squares side by side; thread 0 adds them in index order.
__global__ void __launch_bounds__(kClipThreads)
    clip_kernel(const double* squares, std::int64_t count, double max_norm, bool halts, double* scalars) {
  PLUMB_SHARED(double, some, [kClipThreads]);
  double sum = 0;
  for (std::int64_t first = 0; first < count; first += kClipThreads) {
    const std::int64_t rest = count - first;
    if (threadIdx.x < rest) some[threadIdx.x] = squares[first + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = 0; i < kClipThreads && i < rest; ++i) sum += some[i];
    __syncthreads();
  }
  if (threadIdx.x == 0) decide_clip(sqrt(sum), max_norm, halts, scalars);
}

__global__ void loss_scale_kernel(double interval, double largest, double* scalars) {
  decide_loss_scale(interval, largest, scalars);
}

CopyKind copy_kind(const Tensor& copy) {
  if (!copy.defined()) return CopyKind::None;
  if (copy.dtype == DType::BFloat16) return CopyKind::BFloat16;
  return copy.dtype == DType::Float16 ? CopyKind::Float16 : CopyKind::Float32;
}

bool is_aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

UpdateEntry entry_of(const UpdateTensor& tensor, double epsilon) {
  const void* const all[] = {tensor.parameter.data, tensor.gradient.data, tensor.momentum.data,
                             tensor.variance.data, tensor.compute_copy.data};
  bool whole = true;
  for (const void* data : all) whole = whole && is_aligned(data);
  return {static_cast<float*>(tensor.parameter.data),
          static_cast<float*>(tensor.momentum.data),
          static_cast<float*>(tensor.variance.data),
          static_cast<const float*>(tensor.gradient.data),
          tensor.compute_copy.data,
          tensor.parameter.elements(),
          static_cast<float>(tensor.learning_rate_scale),
          static_cast<float>(tensor.weight_decay),
          static_cast<float>(epsilon * tensor.epsilon_scale),
          copy_kind(tensor.compute_copy),
          whole};
}

template <class Rule, class Arguments>
void launch_update(const char* name, cudaStream_t stream, const Arguments& arguments, const Rule& rule,
                   double epsilon, std::span<const UpdateTensor> tensors, double* partials) {
  const UpdateStatistics& statistics = arguments.statistics;
  const PieceTotals<kUpdateSums> totals{{static_cast<double*>(statistics.update_square.data),
                                         static_cast<double*>(statistics.parameter_square.data),
                                         static_cast<double*>(statistics.lag_squares.data),
                                         static_cast<double*>(statistics.eps_dominated.data)}};
  const auto make_entry = [epsilon](const UpdateTensor& tensor) { return entry_of(tensor, epsilon); };
  for_launches<UpdatePieces>(tensors, make_entry, [&](const UpdatePieces& pieces) {
    if (pieces.pieces() > 0) {
      launch({name, dim3(static_cast<unsigned>(pieces.pieces())), dim3(kPieceThreads), 0, stream},
             update_kernel<Rule>, pieces, rule, static_cast<const double*>(arguments.step_scalars.data),
             static_cast<const double*>(arguments.tensor_factors.data), partials);
    }
    if (partials == nullptr) return;
    launch({name, dim3(static_cast<unsigned>(pieces.count)), dim3(kPieceThreads), 0, stream},
           total_pieces_kernel<kUpdateSums, UpdatePieces>, pieces, partials, totals);
  });
}

}  // namespace

void launch_adamw(cudaStream_t stream, const AdamW& arguments, std::span<const UpdateTensor> tensors,
                  double* partials) {
  const bool lag = arguments.statistics.lag_squares.defined() || arguments.statistics.eps_dominated.defined();
  with_flag(lag, [&](auto kLag) {
    const AdamRule<kLag()> rule{static_cast<float>(arguments.beta1), static_cast<float>(arguments.beta2),
                                static_cast<float>(1 - arguments.beta1),
                                static_cast<float>(1 - arguments.beta2)};
    launch_update("adamw", stream, arguments, rule, arguments.epsilon, tensors, partials);
  });
}

void launch_sgd_momentum(cudaStream_t stream, const SgdMomentum& arguments,
                         std::span<const UpdateTensor> tensors, double* partials) {
  launch_update("sgd_momentum", stream, arguments, SgdRule{static_cast<float>(arguments.momentum)}, 0,
                tensors, partials);
}

void launch_clip(cudaStream_t stream, const Clip& arguments) {
  launch({"clip", dim3(1), dim3(kClipThreads), 0, stream}, clip_kernel,
         static_cast<const double*>(arguments.squares.data), arguments.squares.elements(), arguments.max_norm,
         arguments.halts, static_cast<double*>(arguments.step_scalars.data));
}

void launch_adapt_loss_scale(cudaStream_t stream, const LossScaling& arguments) {
  launch({"adapt_loss_scale", dim3(1), dim3(1), 0, stream}, loss_scale_kernel,
         static_cast<double>(arguments.interval), arguments.largest,
         static_cast<double*>(arguments.step_scalars.data));
}

}  // namespace plumb::cuda
