#include "backends/cuda/activation.h"
#include "backends/cuda/device/activation_functions.cuh"
#include "backends/cuda/device/column_sums.cuh"
#include "backends/cuda/device/dispatch.cuh"

namespace plumb::cuda {
namespace {

/// pre and bias, with the gate's half first where the kind is gated.
template <class T>
struct Inputs {
  ActivationKind kind;
  const T* pre;
  std::int64_t stride, width;  // width: F
  const float* bias;

  template <class Arguments>
  Inputs(const Arguments& arguments, std::int64_t width_in)
      : kind(arguments.kind),
        pre(static_cast<const T*>(arguments.pre.data)),
        stride(arguments.pre.row_stride),
        width(width_in),
        bias(static_cast<const float*>(arguments.bias.data)) {}
};

/// What a thread keeps of the bias while it goes down the rows.
template <class Walk, bool kGated>
struct BiasOf {
  static constexpr int kPack = Walk::kPack;
  float gate[kPack], up[kGated ? kPack : 1];

  template <class T>
  __device__ __forceinline__ BiasOf(const Walk& walk, const Inputs<T>& inputs) {
    walk.layout.read_parameters(inputs.bias, walk.chunk, 0.0f, gate);
    if constexpr (kGated) {
      const float* second = inputs.bias != nullptr ? inputs.bias + inputs.width : nullptr;
      walk.layout.read_parameters(second, walk.chunk, 0.0f, up);
    }
  }
};

template <class Walk, class T>
__device__ __forceinline__ void read_biased(const Walk& walk, const T* row, const float (&bias)[Walk::kPack],
                                            float (&out)[Walk::kPack]) {
  walk.layout.read(row, walk.chunk, out);
#pragma unroll
  for (int j = 0; j < Walk::kPack; ++j) out[j] += bias[j];
}

/// Reads pre, writes h.
template <class T, bool kVector, bool kGated>
__global__ void __launch_bounds__(kWalkThreads)
    activation_forward_kernel(WalkShape shape, Inputs<T> inputs, T* h, std::int64_t h_stride) {
  using Walk = ColumnWalk<T, kVector>;
  constexpr int kPack = Walk::kPack;
  const Walk walk(shape);
  const BiasOf<Walk, kGated> bias(walk, inputs);
  walk.for_rows([&](std::int64_t row) {
    const T* pre = inputs.pre + row * inputs.stride;
    float gate[kPack], values[kPack];
    ValueAndSlope activated[kPack];
    read_biased(walk, pre, bias.gate, gate);
    if constexpr (kGated) read_biased(walk, pre + inputs.width, bias.up, values);
    activate(inputs.kind, gate, activated);
#pragma unroll
    for (int j = 0; j < kPack; ++j) values[j] = kGated ? activated[j].value * values[j] : activated[j].value;
    walk.layout.write(h + row * h_stride, walk.chunk, values);
  });
}

template <class T>
struct Gradients {
  const T* dh;
  std::int64_t dh_stride;
  T* dpre;
  std::int64_t dpre_stride;
  T* h;  // null: not wanted
  std::int64_t h_stride;
  float* bias_partials;  // (row blocks, cols of pre), null: no dbias
};

/// Reads pre and dh, writes dpre and h; everything of a pack is read before it is written, so dpre may be
/// pre, and h dh.
template <class T, bool kVector, bool kGated>
__global__ void __launch_bounds__(kWalkThreads, 2)
    activation_backward_kernel(WalkShape shape, Inputs<T> inputs, Gradients<T> gradients) {
  using Walk = ColumnWalk<T, kVector>;
  constexpr int kPack = Walk::kPack;
  const Walk walk(shape);
  const BiasOf<Walk, kGated> bias(walk, inputs);
  float gate_sums[kPack] = {}, up_sums[kPack] = {};
  walk.for_rows([&](std::int64_t row) {
    const T* pre = inputs.pre + row * inputs.stride;
    T* dpre = gradients.dpre + row * gradients.dpre_stride;
    float gate[kPack], up[kPack], upstream[kPack];
    ValueAndSlope activated[kPack];
    read_biased(walk, pre, bias.gate, gate);
    if constexpr (kGated) read_biased(walk, pre + inputs.width, bias.up, up);
    walk.layout.read(gradients.dh + row * gradients.dh_stride, walk.chunk, upstream);
    activate(inputs.kind, gate, activated);
    if (gradients.h != nullptr) {
      float values[kPack];
#pragma unroll
      for (int j = 0; j < kPack; ++j) values[j] = kGated ? activated[j].value * up[j] : activated[j].value;
      walk.layout.write(gradients.h + row * gradients.h_stride, walk.chunk, values);
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      gate[j] = upstream[j] * activated[j].slope * (kGated ? up[j] : 1.0f);
      gate_sums[j] += gate[j];
      if constexpr (kGated) {
        up[j] = upstream[j] * activated[j].value;
        up_sums[j] += up[j];
      }
    }
    walk.layout.write(dpre, walk.chunk, gate);
    if constexpr (kGated) walk.layout.write(dpre + inputs.width, walk.chunk, up);
  });
  if (gradients.bias_partials == nullptr) return;
  const std::int64_t cols = kGated ? 2 * inputs.width : inputs.width;
  walk.leave_columns(gate_sums, gradients.bias_partials, cols);
  if constexpr (kGated) walk.leave_columns(up_sums, gradients.bias_partials, cols, inputs.width);
}

}  // namespace

void launch_activation_forward(cudaStream_t stream, const ActivationForward& arguments) {
  const Tensor& h = arguments.h;
  const WalkShape shape = activation_shape(h);
  const Launch how{"activation_forward", dim3(static_cast<unsigned>(shape.blocks())), dim3(kWalkThreads), 0,
                   stream};
  const bool vector = vector_access(h.cols(), {arguments.pre, arguments.bias, h});
  with_element(h.dtype, [&](auto element) {
    using T = decltype(element);
    with_flag(vector, [&](auto kVector) {
      with_flag(is_gated(arguments.kind), [&](auto kGated) {
        launch(how, activation_forward_kernel<T, kVector(), kGated()>, shape, Inputs<T>(arguments, h.cols()),
               static_cast<T*>(h.data), h.row_stride);
      });
    });
  });
}

void launch_activation_backward(cudaStream_t stream, const ActivationBackward& arguments,
                                float* bias_partials) {
  const Tensor &dh = arguments.dh, &dpre = arguments.dpre, &h = arguments.h;
  const WalkShape shape = activation_shape(dh);
  const Launch how{"activation_backward", dim3(static_cast<unsigned>(shape.blocks())), dim3(kWalkThreads), 0,
                   stream};
  const bool vector = vector_access(dh.cols(), {arguments.pre, arguments.bias, dh, dpre, h});
  with_element(dh.dtype, [&](auto element) {
    using T = decltype(element);
    const Gradients<T> gradients{static_cast<const T*>(dh.data),
                                 dh.row_stride,
                                 static_cast<T*>(dpre.data),
                                 dpre.row_stride,
                                 static_cast<T*>(h.data),
                                 h.row_stride,
                                 bias_partials};
    with_flag(vector, [&](auto kVector) {
      with_flag(is_gated(arguments.kind), [&](auto kGated) {
        launch(how, activation_backward_kernel<T, kVector(), kGated()>, shape,
               Inputs<T>(arguments, dh.cols()), gradients);
      });
    });
  });
  if (bias_partials == nullptr) return;
  ColumnSums<float, float> sums;
  sums.add(bias_partials, shape.row_blocks.count, arguments.pre.cols(),
           static_cast<float*>(arguments.dbias.data));
  launch_column_sums("activation_backward dbias", stream, sums);
}

}  // namespace plumb::cuda
