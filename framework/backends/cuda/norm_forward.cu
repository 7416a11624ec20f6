#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/norm_function.cuh"
#include "backends/cuda/device/row_moments.cuh"
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

/// What is said of the rows that are written; partials null: nothing.
struct Observation {
  std::int64_t rows_each;  // rows that a block goes through
  double* partials;        // (kMomentScalars, blocks)
};

/// Of one thread: over all its rows, and of the row at hand.
struct Observed {
  EntryMoments entries;
  RowMoments row;

  /// Of what has been stored: rounded to T.
  template <class T, class Layout>
  __device__ __forceinline__ void add(const Layout& layout, int pack, const float (&values)[Layout::kPack]) {
#pragma unroll
    for (int j = 0; j < Layout::kPack; ++j)
      if (layout.holds(pack, j)) entries.add(to_float(from_float<T>(values[j])), row);
  }
};

/// One group of one row, which its team reads once (more often only without registers for it) and writes
/// once. All threads of the block call it; without a row the layout has no columns.
template <class Form, int kPacks, bool kDivides, bool kMoments, class T, class Layout>
__device__ __forceinline__ void norm_row(const NormInputs<T>& inputs, const Outputs<T>& out,
                                         const Layout& layout, std::int64_t row, int group, float* scratch,
                                         Observed& observed) {
  constexpr int kPack = Layout::kPack;
  const TeamRow<Layout, kPacks> x(layout, inputs.x + row * inputs.x_stride + group * inputs.width);
  NormFunction function = inputs.function();
  if constexpr (kDivides) take_statistics<Form, kPacks>(inputs, layout, x, scratch, function);
  if (layout.width == 0) return;
  if (layout.lane == 0 && kDivides) {
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
    if constexpr (kMoments) observed.template add<T>(layout, pack, v);
  });
}

/// A team has one group of one row at a time. With kMoments (then there is one group) a block goes through
/// the rows of a row block, else its teams have one row each.
template <class Form, int kPacks, class T, bool kDivides, bool kMoments>
__global__ void __launch_bounds__(kTeamBlock, kMoments                               ? 2
                                              : Form::kVector&& Form::kTeam == kWarp ? 4
                                                                                     : 3)
    norm_forward_kernel(NormInputs<T> inputs, Outputs<T> out, Observation observation) {
  using Layout = typename Form::template Layout<T>;
  PLUMB_SHARED(float, scratch, [kTeamBlock / kWarp]);
  const int group = static_cast<int>(blockIdx.x) % inputs.groups;
  const std::int64_t begin = std::int64_t{blockIdx.x} / inputs.groups * observation.rows_each;
  const int team = static_cast<int>(threadIdx.x) / Form::kTeam;
  const int lane = static_cast<int>(threadIdx.x) % Form::kTeam;
  Observed observed;
  if constexpr (!kMoments) {
    const std::int64_t row = begin + team;
    const Layout layout{lane, row < inputs.rows ? inputs.width : 0};
    norm_row<Form, kPacks, kDivides, false>(inputs, out, layout, row, group, &scratch[0], observed);
  } else {
    PLUMB_SHARED(double, wide_scratch, [2 * kTeamBlock / kWarp]);
    PLUMB_SHARED(TeamMoments, moments, [Form::kTeams]);
    if (lane == 0) moments[team] = {};  // its alone
    const std::int64_t rest = inputs.rows - begin;
    const int count = static_cast<int>(rest < observation.rows_each ? rest : observation.rows_each);
    for (int first = 0; first < count; first += Form::kTeams) {
      const bool here = first + team < count;
      const Layout layout{lane, here ? inputs.width : 0};
      observed.row = {};
      norm_row<Form, kPacks, kDivides, true>(inputs, out, layout, begin + first + team, 0, &scratch[0],
                                             observed);
      double sums[2] = {observed.row.sum, observed.row.squares};
      team_sum<Form::kTeam>(sums, &wide_scratch[0]);
      if (here && lane == 0) moments[team].add_row(sums[0], sums[1], inputs.width);
    }
    TeamMoments mine = {};
    if (lane == 0) mine = moments[team];
    leave_moments<kTeamBlock>(observation.partials, count, observed.entries, mine, &wide_scratch[0]);
  }
}

template <class Form, int kPacks, class T>
void launch_form(cudaStream_t stream, const NormForward& arguments, const NormMoments& moments) {
  with_flag(divides_by_deviation(arguments.kind), [&](auto kDivides) {
    with_flag(moments.scalars != nullptr, [&](auto kMoments) {
      const std::int64_t rows_each = kMoments() ? moments.row_blocks.rows_each : Form::kTeams;
      const std::int64_t blocks = (arguments.x.rows() + rows_each - 1) / rows_each * arguments.groups;
      launch({"norm_forward", dim3(static_cast<unsigned>(blocks)), dim3(kTeamBlock), 0, stream},
             norm_forward_kernel<Form, kPacks, T, kDivides(), kMoments()>, NormInputs<T>(arguments),
             Outputs<T>(arguments), Observation{rows_each, moments.scalars});
    });
  });
}

}  // namespace

void launch_norm_forward(cudaStream_t stream, const NormForward& arguments, const NormMoments& moments) {
  const bool vector = norm_vector_access(arguments, {arguments.x, arguments.y});
  const std::int64_t width = arguments.x.cols() / arguments.groups;
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    with_team<T>(width, vector, [&](auto form) {
      using Form = decltype(form);
      // Registers keep what a thread has of a group, but for the widest.
      if (width <= Form::kTeam * kTeamPacks * kPackOf<T>)
        return launch_form<Form, kTeamPacks, T>(stream, arguments, moments);
      if constexpr (Form::kTeam == kTeamBlock) launch_form<Form, 0, T>(stream, arguments, moments);
    });
  });
  if (moments.scalars == nullptr) return;
  ScalarSums sums(moments.row_blocks.count);
  sums.add(moments.scalars, arguments.moments);
  launch_scalar_sums(stream, sums);
}

}  // namespace plumb::cuda
