#include "backends/cuda/device/column_sums.cuh"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/norm_function.cuh"
#include "backends/cuda/device/staged_rows.cuh"
#include "backends/cuda/launch_rules.h"
#include "backends/cuda/norm.h"
#include "backends/cuda/shared_rows.h"

namespace plumb::cuda {
namespace {

template <class T>
struct Gradients {
  const float *mean, *rstd;
  std::int64_t mean_stride, rstd_stride;
  const T* dy;
  T* dx;
  std::int64_t dy_stride, dx_stride;
  bool accumulate;

  explicit Gradients(const NormBackward& arguments)
      : mean(static_cast<const float*>(arguments.mean.data)),
        rstd(static_cast<const float*>(arguments.rstd.data)),
        mean_stride(arguments.mean.row_stride),
        rstd_stride(arguments.rstd.row_stride),
        dy(static_cast<const T*>(arguments.dy.data)),
        dx(static_cast<T*>(arguments.dx.data)),
        dy_stride(arguments.dy.row_stride),
        dx_stride(arguments.dx.row_stride),
        accumulate(arguments.accumulate_dx) {}
};

/// Parameters of one group as its kernel reads them.
struct GroupParameters {
  const float *gain, *bias, *data_features;  // the scale's, null where it does not act on the data

  template <class T>
  __device__ __forceinline__ GroupParameters(const NormInputs<T>& inputs, int group)
      : gain(inputs.parameters_of(inputs.gain, group)),
        bias(inputs.parameters_of(inputs.bias, group)),
        data_features(inputs.features_of(inputs.scale.data_features(), group)) {}

  /// factor * dy * the scale's factor per feature * gain: the gradient of the normalised value.
  template <class Layout>
  __device__ __forceinline__ void to_normalised(const Layout& layout, int pack, float factor,
                                                float (&dy)[Layout::kPack]) const {
    float parameters[Layout::kPack];
    layout.read_parameters(gain, pack, 1.0f, parameters);
#pragma unroll
    for (int j = 0; j < Layout::kPack; ++j) dy[j] *= factor * parameters[j];
    layout.read_parameters(data_features, pack, 1.0f, parameters);
#pragma unroll
    for (int j = 0; j < Layout::kPack; ++j) dy[j] *= parameters[j];
  }
};

/// The sums over the rows of a block: one team's arrays of slots (RowLayout), in the order gain, bias, scale,
/// each as far as it is wanted.
template <class Layout>
struct TeamSums {
  static constexpr int kPack = Layout::kPack;
  float *gain, *bias, *scale;               // null: not wanted
  double alpha = 0, offset = 0, total = 0;  // of one thread; total: of a single scale

  __device__ __forceinline__ TeamSums(const NormPartials& wanted, float* arrays, int padded)
      : gain(wanted.gain != nullptr ? arrays : nullptr),
        bias(wanted.bias != nullptr ? arrays + (wanted.gain != nullptr) * padded : nullptr),
        scale(wanted.scale != nullptr
                  ? arrays + ((wanted.gain != nullptr) + (wanted.bias != nullptr)) * padded
                  : nullptr) {}

  /// gain and bias without the scale's factor per feature, which multiplies at the end.
  __device__ __forceinline__ void add_affine(const Layout& layout, int pack, float factor,
                                             const float (&dy)[kPack], const float (&x_hat)[kPack]) const {
    float terms[kPack];
    if (gain != nullptr) {
#pragma unroll
      for (int j = 0; j < kPack; ++j) terms[j] = factor * dy[j] * x_hat[j];
      layout.add(gain, pack, terms);
    }
    if (bias != nullptr) {
#pragma unroll
      for (int j = 0; j < kPack; ++j) terms[j] = factor * dy[j];
      layout.add(bias, pack, terms);
    }
  }
  /// other * dy * (x_hat gain + bias): the gradient of the scale's trainable factor.
  __device__ __forceinline__ void add_scale(const Layout& layout, int pack, float other,
                                            const GroupParameters& parameters, const float (&dy)[kPack],
                                            const float (&x_hat)[kPack]) {
    float terms[kPack], bias_values[kPack];
    layout.read_parameters(parameters.gain, pack, 1.0f, terms);
    layout.read_parameters(parameters.bias, pack, 0.0f, bias_values);
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      terms[j] = other * dy[j] * (x_hat[j] * terms[j] + bias_values[j]);
      sum += terms[j];
    }
    if (scale != nullptr) layout.add(scale, pack, terms);
    total += static_cast<double>(sum);
  }
};

/// First pass over a group: everything that is summed. sums[0] = sum of dx_hat, sums[1] = sum of
/// dx_hat * x_hat, with dx_hat the gradient of the normalised value.
template <bool kDivides, class Layout, class Row>
__device__ __forceinline__ void sum_group(const Layout& layout, const Row& x, const Row& dy,
                                          const NormFunction& function, const GroupParameters& parameters,
                                          float factor, float other, const NormPartials& wanted,
                                          TeamSums<Layout>& team, float (&sums)[2]) {
  constexpr int kPack = Layout::kPack;
  const bool scale = wanted.scale != nullptr || wanted.single_scale != nullptr;
  for_packs<0>(layout, [&](auto pack) {
    float v[kPack], x_hat[kPack], gradient[kPack];
    x.values(layout, pack, v);
    dy.values(layout, pack, gradient);
    function.normalise<kDivides>(v, x_hat);
    team.add_affine(layout, pack, factor, gradient, x_hat);
    if (scale) team.add_scale(layout, pack, other, parameters, gradient, x_hat);
    if constexpr (kDivides) {
      parameters.to_normalised(layout, pack, factor, gradient);
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        sums[0] += gradient[j];
        sums[1] += gradient[j] * x_hat[j];
      }
    } else if (wanted.alpha != nullptr || wanted.offset != nullptr) {
      parameters.to_normalised(layout, pack, factor, gradient);
      float slopes[kPack], alpha = 0, offset = 0;
      function.slopes(v, x_hat, slopes);
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        alpha += gradient[j] * slopes[j] * v[j];
        offset += gradient[j] * slopes[j];
      }
      team.alpha += static_cast<double>(alpha);
      team.offset += static_cast<double>(offset);
    }
  });
}

/// Second pass: dx. A pack of dy is read before dx is written, which may be the same view. `mean` and
/// `projection` are what the deviation's own gradient takes from dx_hat.
template <bool kDivides, class Layout, class Row, class T>
__device__ __forceinline__ void write_group(const Layout& layout, const Row& x, const Row& dy,
                                            const NormFunction& function, const GroupParameters& parameters,
                                            float factor, float mean, float projection, bool accumulate,
                                            T* dx) {
  constexpr int kPack = Layout::kPack;
  for_packs<0>(layout, [&](auto pack) {
    float v[kPack], x_hat[kPack], gradient[kPack];
    x.values(layout, pack, v);
    dy.values(layout, pack, gradient);
    function.normalise<kDivides>(v, x_hat);
    parameters.to_normalised(layout, pack, factor, gradient);
    if constexpr (kDivides) {
#pragma unroll
      for (int j = 0; j < kPack; ++j)
        gradient[j] = function.rstd * (gradient[j] - mean - x_hat[j] * projection);
    } else {
      float slopes[kPack];
      function.slopes(v, x_hat, slopes);
#pragma unroll
      for (int j = 0; j < kPack; ++j) gradient[j] *= slopes[j] * function.alpha;
    }
    if (accumulate) {
      layout.read(dx, pack, v);
#pragma unroll
      for (int j = 0; j < kPack; ++j) gradient[j] += v[j];
    }
    layout.write(dx, pack, gradient);
  });
}

/// Adds up the teams of the block, in order, and writes the row of partial sums of this block and group.
template <class Form, class T, class Layout>
__device__ void leave_sums(const NormInputs<T>& inputs, const NormPartials& partials, const float* arrays,
                           int row_block, int group, const GroupParameters& parameters) {
  const int padded = Layout::padded(inputs.width), team_stride = partials.arrays() * padded;
  const auto leave = [&](float* out, int array, const float* factors) {
    for (int column = static_cast<int>(threadIdx.x); column < inputs.width; column += kTeamBlock) {
      const float* place = arrays + array * padded + Layout::slot_of_column(column);
      float sum = place[0];
      for (int team = 1; team < Form::kTeams; ++team) sum += place[team * team_stride];
      if (factors != nullptr) sum *= factors[column];
      out[(std::int64_t{row_block} * inputs.groups + group) * inputs.width + column] = sum;
    }
  };
  int array = 0;
  if (partials.gain != nullptr) leave(partials.gain, array++, parameters.data_features);
  if (partials.bias != nullptr) leave(partials.bias, array++, parameters.data_features);
  if (partials.scale != nullptr) leave(partials.scale, array, nullptr);
}

/// What all rows of a block have in common.
template <class T>
struct Block {
  const NormInputs<T>& inputs;
  const Gradients<T>& gradients;
  const NormPartials& partials;
  const GroupParameters& parameters;
  int group;
  float* scratch;  // of team_sum
};

/// One row of a team, from rows of x and dy wherever they are; `row` may be none of this block's, then the
/// layout has no columns. All threads of the block call it.
template <class Form, bool kDivides, class T, class Layout, class Row>
__device__ __forceinline__ void run_row(const Block<T>& block, const Layout& layout, std::int64_t row,
                                        const Row& x, const Row& dy, TeamSums<Layout>& team_sums) {
  const NormInputs<T>& inputs = block.inputs;
  const Gradients<T>& gradients = block.gradients;
  const bool here = layout.width > 0;
  NormFunction function = inputs.function();
  if (kDivides && here) {
    if (inputs.centred()) function.mean = gradients.mean[row * gradients.mean_stride + block.group];
    function.rstd = gradients.rstd[row * gradients.rstd_stride + block.group];
  }
  const float factor = here ? inputs.scale.row_data(row) : 0.0f;
  const float other = here ? inputs.scale.row_factor(row) : 0.0f;
  float sums[2] = {0, 0};
  sum_group<kDivides>(layout, x, dy, function, block.parameters, factor, other, block.partials, team_sums,
                      sums);
  if constexpr (kDivides) team_sum<Form::kTeam>(sums, block.scratch);
  // The mean over the group where the norm divides by a root mean square, the sum where by the 2-norm.
  const float share = inputs.kind == NormKind::L2 ? 1.0f : 1.0f / static_cast<float>(inputs.width);
  write_group<kDivides>(layout, x, dy, function, block.parameters, factor,
                        inputs.centred() ? sums[0] * share : 0.0f, sums[1] * share, gradients.accumulate,
                        gradients.dx + row * gradients.dx_stride + block.group * inputs.width);
}

/// Goes through the rows of a block: with packs by way of shared memory, two rows deep if there are two
/// stages; without, each pass reads them where they are.
template <class Form, bool kDivides, class T, class Layout>
__device__ __forceinline__ void run_rows(const Block<T>& block, std::int64_t begin, int stages,
                                         unsigned char* shared_rows, TeamSums<Layout>& team_sums) {
  const NormInputs<T>& inputs = block.inputs;
  const std::int64_t first = std::int64_t{block.group} * inputs.width;
  const T* const x = inputs.x + first;
  const T* const dy = block.gradients.dy + first;
  const int lane = static_cast<int>(threadIdx.x) % Form::kTeam;
  const std::int64_t end = begin + block.partials.row_blocks.rows_each;
  const auto layout_of = [&](std::int64_t row) {
    return Layout{lane, row < end && row < inputs.rows ? inputs.width : 0};
  };
  std::int64_t row = begin + static_cast<int>(threadIdx.x) / Form::kTeam;
  if constexpr (Form::kVector) {
    const StagedRows<Layout> staged(shared_rows, inputs.width);
    const auto start = [&](int stage, std::int64_t next) {
      staged.start(stage, layout_of(next), x + next * inputs.x_stride, dy + next * block.gradients.dy_stride);
    };
    start(0, row);
    int stage = 0;
    for (std::int64_t i = begin; i < end; i += Form::kTeams, row += Form::kTeams) {
      if (stages == 2) {
        start(1 - stage, row + Form::kTeams);
        copy_async_wait<1>();
      } else {
        copy_async_wait<0>();
      }
      run_row<Form, kDivides>(block, layout_of(row), row, staged.row(stage, 0), staged.row(stage, 1),
                              team_sums);
      if (stages == 2) {
        stage = 1 - stage;
      } else {
        start(0, row + Form::kTeams);
      }
    }
    copy_async_wait<0>();
  } else {
    for (std::int64_t i = begin; i < end; i += Form::kTeams, row += Form::kTeams) {
      const Layout layout = layout_of(row);
      run_row<Form, kDivides>(block, layout, row, TeamRow<Layout, 0>(layout, x + row * inputs.x_stride),
                              TeamRow<Layout, 0>(layout, dy + row * block.gradients.dy_stride), team_sums);
    }
  }
}

/// A block has one group of the rows of one row block; each of its teams has a row at a time. Reads x and dy
/// once (each pass anew where the form is not kVector), writes dx once; sums of the parameters' gradients
/// stay in shared memory until the end. Dynamic shared memory: stages of rows, then the sums.
template <class Form, class T, bool kDivides>
__global__ void __launch_bounds__(kTeamBlock, 2)
    norm_backward_kernel(NormInputs<T> inputs, Gradients<T> gradients, NormPartials partials,
                         SharedRows rows) {
  using Layout = typename Form::template Layout<T>;
  PLUMB_DYNAMIC_SHARED(unsigned char, shared);
  PLUMB_SHARED(float, scratch, [2 * kTeamBlock / kWarp]);
  PLUMB_SHARED(double, totals, [kTeamBlock / kWarp]);
  const int group = static_cast<int>(blockIdx.x) % inputs.groups;
  const int row_block = static_cast<int>(blockIdx.x) / inputs.groups;
  const int padded = Layout::padded(inputs.width), sums_of_team = partials.arrays() * padded;
  float* const sums = partials.wide_sums != nullptr
                          ? partials.wide_sums + std::int64_t{blockIdx.x} * sums_of_team
                          : reinterpret_cast<float*>(shared + rows.bytes);
  for (int i = static_cast<int>(threadIdx.x); i < Form::kTeams * sums_of_team; i += kTeamBlock) sums[i] = 0;
  __syncthreads();
  const int team = static_cast<int>(threadIdx.x) / Form::kTeam;
  TeamSums<Layout> team_sums(partials, sums + team * sums_of_team, padded);
  const GroupParameters parameters(inputs, group);
  run_rows<Form, kDivides>(Block<T>{inputs, gradients, partials, parameters, group, &scratch[0]},
                           std::int64_t{row_block} * partials.row_blocks.rows_each, rows.stages, shared,
                           team_sums);
  __syncthreads();
  leave_sums<Form, T, Layout>(inputs, partials, sums, row_block, group, parameters);
  const auto leave_total = [&](double value, double* out) {
    if (out == nullptr) return;
    const double total = block_reduce<kTeamBlock>(value, Add{}, &totals[0]);
    if (threadIdx.x == 0) out[blockIdx.x] = total;
  };
  leave_total(team_sums.alpha, partials.alpha);
  leave_total(team_sums.offset, partials.offset);
  leave_total(team_sums.total, partials.single_scale);
}

/// From the partial sums to the gradients.
void add_up(cudaStream_t stream, const NormBackward& arguments, const NormPartials& partials) {
  const std::int64_t cols = arguments.x.cols(), row_blocks = partials.row_blocks.count;
  ColumnSums<float, float> sums;
  const auto add = [&](const float* partial, const Tensor& gradient) {
    // A parameter that the groups share: their columns are further terms of its sums.
    const std::int64_t features = gradient.elements();
    if (partial != nullptr)
      sums.add(partial, row_blocks * (cols / features), features, static_cast<float*>(gradient.data));
  };
  add(partials.gain, arguments.dgain);
  add(partials.bias, arguments.dbias);
  add(partials.scale, arguments.dscale.feature);
  launch_column_sums("norm_backward parameters", stream, sums);
  ColumnSums<double, float> totals;
  const auto add_total = [&](const double* partial, const Tensor& gradient) {
    if (partial != nullptr)
      totals.add(partial, row_blocks * arguments.groups, 1, static_cast<float*>(gradient.data));
  };
  add_total(partials.alpha, arguments.dalpha);
  add_total(partials.offset, arguments.doffset);
  add_total(partials.single_scale, arguments.dscale.feature);
  launch_column_sums("norm_backward scalars", stream, totals);
}

template <class Form, class T>
void launch_form(cudaStream_t stream, const NormBackward& arguments, const NormPartials& partials) {
  using Layout = typename Form::template Layout<T>;
  const auto width = static_cast<int>(arguments.x.cols() / arguments.groups);
  const std::size_t sums = partials.wide_sums != nullptr
                               ? 0
                               : Form::kTeams * partials.arrays() * Layout::padded(width) * sizeof(float);
  SharedRows rows;
  if constexpr (Form::kVector) {
    const std::size_t most = shared_bytes_of_block() - kSharedReserve;
    rows = shared_rows(StagedRows<Layout>::stage_bytes(width), sums, most);
    // Too wide even for one stage.
    if (rows.bytes + sums > most)
      return launch_form<TeamForm<kTeamBlock, false>, T>(stream, arguments, partials);
  }
  const std::int64_t blocks = partials.row_blocks.count * arguments.groups;
  with_flag(divides_by_deviation(arguments.kind), [&](auto kDivides) {
    launch(
        {"norm_backward", dim3(static_cast<unsigned>(blocks)), dim3(kTeamBlock), rows.bytes + sums, stream},
        norm_backward_kernel<Form, T, kDivides()>, NormInputs<T>(arguments), Gradients<T>(arguments),
        partials, rows);
  });
}

}  // namespace

void launch_norm_backward(cudaStream_t stream, const NormBackward& arguments, const NormPartials& partials) {
  const bool vector = norm_vector_access(arguments, {arguments.x, arguments.dy, arguments.dx});
  with_element(arguments.dy.dtype, [&](auto element) {
    using T = decltype(element);
    with_team<T>(arguments.x.cols() / arguments.groups, vector,
                 [&](auto form) { launch_form<decltype(form), T>(stream, arguments, partials); });
  });
  add_up(stream, arguments, partials);
}

}  // namespace plumb::cuda
