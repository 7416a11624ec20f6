#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/norm_function.cuh"
#include "backends/cuda/norm.h"

namespace plumb::cuda {
namespace {

template <class T>
struct Outputs {
  T* y;
  std::int64_t y_stride;
  float *mean, *rstd;  // null: not wanted
  std::int64_t mean_stride, rstd_stride;

  explicit Outputs(const NormForward& arguments)
      : y(static_cast<T*>(arguments.y.data)),
        y_stride(arguments.y.row_stride),
        mean(static_cast<float*>(arguments.mean.data)),
        rstd(static_cast<float*>(arguments.rstd.data)),
        mean_stride(arguments.mean.row_stride),
        rstd_stride(arguments.rstd.row_stride) {}
};

/// Mean and rstd of a group, by two passes over the values: sum v^2 - n mean^2 would cancel. All threads of
/// the block call it.
template <class Form, int kPacks, class T, class Layout, class Row>
__device__ __forceinline__ void take_statistics(const NormInputs<T>& inputs, const Layout& layout,
                                                const Row& row, float* scratch, NormFunction& function) {
  constexpr int kPack = Layout::kPack;
  const float inverse_width = 1.0f / static_cast<float>(inputs.width);
  if (inputs.centred()) {
    float sum[1] = {0};
    for_packs<kPacks>(layout, [&](auto pack) {
      float v[kPack];
      row.values(layout, pack, v);
#pragma unroll
      for (int j = 0; j < kPack; ++j) sum[0] += v[j];
    });
    team_sum<Form::kTeam>(sum, scratch);
    function.mean = sum[0] * inverse_width;
  }
  float squares[1] = {0};
  for_packs<kPacks>(layout, [&](auto pack) {
    float v[kPack];
    row.values(layout, pack, v);
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      const float deviation = layout.holds(pack, j) ? v[j] - function.mean : 0.0f;
      squares[0] += deviation * deviation;
    }
  });
  team_sum<Form::kTeam>(squares, scratch);
  const float mean_square = inputs.kind == NormKind::L2 ? squares[0] : squares[0] * inverse_width;
  function.rstd = 1.0f / sqrtf(mean_square + inputs.epsilon);
}

/// A team has one group of one row: reads it once (more often only without registers for it), writes it once.
template <class Form, int kPacks, class T, bool kDivides>
__global__ void __launch_bounds__(kTeamBlock, 3) norm_forward_kernel(NormInputs<T> inputs, Outputs<T> out) {
  using Layout = typename Form::template Layout<T>;
  constexpr int kPack = Layout::kPack;
  PLUMB_SHARED(float, scratch, [kTeamBlock / kWarp]);
  const int group = static_cast<int>(blockIdx.x) % inputs.groups;
  const std::int64_t row =
      std::int64_t{blockIdx.x} / inputs.groups * Form::kTeams + threadIdx.x / Form::kTeam;
  const bool here = row < inputs.rows;
  const int lane = static_cast<int>(threadIdx.x) % Form::kTeam;
  const Layout layout{lane, here ? inputs.width : 0};
  const TeamRow<Layout, kPacks> x(layout, inputs.x + row * inputs.x_stride + group * inputs.width);
  NormFunction function = inputs.function();
  if constexpr (kDivides) take_statistics<Form, kPacks>(inputs, layout, x, &scratch[0], function);
  if (!here) return;
  if (lane == 0 && kDivides) {
    if (out.mean != nullptr && inputs.centred()) out.mean[row * out.mean_stride + group] = function.mean;
    if (out.rstd != nullptr) out.rstd[row * out.rstd_stride + group] = function.rstd;
  }
  const float* gain = inputs.parameters_of(inputs.gain, group);
  const float* bias = inputs.parameters_of(inputs.bias, group);
  const float* features = inputs.features_of(inputs.scale.features(), group);
  const float factor = inputs.scale.row_value(row);
  T* const y = out.y + row * out.y_stride + group * inputs.width;
  for_packs<kPacks>(layout, [&](auto pack) {
    float v[kPack], parameters[kPack];
    x.values(layout, pack, v);
    function.normalise<kDivides>(v, v);
    layout.read_parameters(gain, pack, 1.0f, parameters);
#pragma unroll
    for (int j = 0; j < kPack; ++j) v[j] *= parameters[j];
    layout.read_parameters(bias, pack, 0.0f, parameters);
#pragma unroll
    for (int j = 0; j < kPack; ++j) v[j] += parameters[j];
    layout.read_parameters(features, pack, 1.0f, parameters);
#pragma unroll
    for (int j = 0; j < kPack; ++j) v[j] *= factor * parameters[j];
    layout.write(y, pack, v);
  });
}

template <class Form, int kPacks, class T>
void launch_form(cudaStream_t stream, const NormForward& arguments) {
  const std::int64_t blocks = (arguments.x.rows() + Form::kTeams - 1) / Form::kTeams * arguments.groups;
  with_flag(divides_by_deviation(arguments.kind), [&](auto kDivides) {
    launch({"norm_forward", dim3(static_cast<unsigned>(blocks)), dim3(kTeamBlock), 0, stream},
           norm_forward_kernel<Form, kPacks, T, kDivides()>, NormInputs<T>(arguments), Outputs<T>(arguments));
  });
}

}  // namespace

void launch_norm_forward(cudaStream_t stream, const NormForward& arguments) {
  const bool vector = norm_vector_access(arguments, {arguments.x, arguments.y});
  const std::int64_t width = arguments.x.cols() / arguments.groups;
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    with_team<T>(width, vector, [&](auto form) {
      using Form = decltype(form);
      // Registers keep what a thread has of a group, but for the widest.
      if (width <= Form::kTeam * kTeamPacks * kPackOf<T>)
        return launch_form<Form, kTeamPacks, T>(stream, arguments);
      if constexpr (Form::kTeam == kTeamBlock) launch_form<Form, 0, T>(stream, arguments);
    });
  });
}

}  // namespace plumb::cuda
