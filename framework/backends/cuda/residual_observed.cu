#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/norm_function.cuh"
#include "backends/cuda/device/row_moments.cuh"
#include "backends/cuda/residual.h"
#include "backends/cuda/residual_rows.cuh"

namespace plumb::cuda {
namespace {

/// What a thread meets of the rows that its team goes through.
struct Observed {
  EntryMoments branch, stream;  // over all rows
  RowMoments z, out;            // of the row at hand, as are the others
  double x_squares = 0, products = 0;

  __device__ __forceinline__ void begin_row() {
    z = out = {};
    x_squares = products = 0;
  }
  template <int kPack>
  __device__ __forceinline__ void add_before(const float (&x_values)[kPack], const float (&z_values)[kPack]) {
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      const auto wide = static_cast<double>(x_values[j]);
      x_squares += wide * wide;
      products += wide * static_cast<double>(z_values[j]);
      branch.add(z_values[j], z);
    }
  }
  /// Of what has been stored: rounded to T.
  template <class T, class Layout, int kPack>
  __device__ __forceinline__ void add_after(const Layout& layout, int pack, const float (&values)[kPack]) {
#pragma unroll
    for (int j = 0; j < kPack; ++j)
      if (layout.holds(pack, j)) stream.add(to_float(from_float<T>(values[j])), out);
  }
};

/// sum = p s. x and z are used up.
template <class T, class Layout, int kPack>
__device__ __forceinline__ void combine(const Layout& layout, int pack, std::int64_t row, const Knobs& knobs,
                                        const ForwardRows<T>& rows, const RowFactors& factors,
                                        float (&x)[kPack], float (&z)[kPack], float (&sum)[kPack]) {
  const FeatureReader<Layout> reader{layout, pack, knobs};
  float features[kPack];
  reader.times_output(knobs.a, features);
  begin_sum(factors.skip, features, x, sum);
  if (knobs.tied) subtract(x, z);
  reader.times_output(knobs.b, features);
  add_to_sum(factors.branch, features, z, sum);
  if (rows.x_block.data == nullptr) return;
  reader.times_output(knobs.e, features);
  layout.read(rows.x_block[row], pack, x);
  add_to_sum(factors.block, features, x, sum);
}

/// Packs of x and z on their way: read one ahead, also from one row of a team to its next.
template <class Layout>
struct PacksAhead {
  typename Layout::Packed x, z;

  template <class T>
  __device__ __forceinline__ void read(const Layout& layout, int pack, const ForwardRows<T>& rows,
                                       std::int64_t row) {
    x = layout.read(rows.x[row], pack);
    z = layout.read(rows.z[row], pack);
  }
};

/// Row after row of its row block, a team reads x, z and x_block once, writes out and keeps what was asked
/// for of z, out and both. A pack of z is read before it is written, so out may be z.
template <class Form, class T>
__global__ void __launch_bounds__(kTeamBlock, kArchitecture == 80 && !Form::kVector ? 1 : 2)
    residual_observed_kernel(std::int64_t row_count, int width, Knobs knobs, ForwardRows<T> rows,
                             ResidualPartials partials) {
  using Layout = typename Form::template Layout<T>;
  constexpr int kPack = Layout::kPack, kSums = 6;
  PLUMB_SHARED(double, scratch, [kSums * kTeamBlock / kWarp]);
  PLUMB_SHARED(TeamMoments, branch, [Form::kTeams]);
  PLUMB_SHARED(TeamMoments, stream, [Form::kTeams]);
  PLUMB_SHARED(TeamAlignment, alignment, [Form::kTeams]);
  const int team = static_cast<int>(threadIdx.x) / Form::kTeam;
  const int lane = static_cast<int>(threadIdx.x) % Form::kTeam;
  if (lane == 0) branch[team] = {}, stream[team] = {}, alignment[team] = {};  // its alone until the end
  const std::int64_t begin = blockIdx.x * partials.row_blocks.rows_each;
  const std::int64_t rest = row_count - begin, most = partials.row_blocks.rows_each;
  const int count = static_cast<int>(rest < most ? rest : most);
  const Layout layout{lane, width};
  Observed observed;
  PacksAhead<Layout> ahead;
  if (Form::kVector && team < count) ahead.read(layout, 0, rows, begin + team);
  for (int first = 0; first < count; first += Form::kTeams) {
    const bool here = first + team < count;
    observed.begin_row();
    if (here) {
      const std::int64_t row = begin + first + team;
      const RowFactors factors(knobs, row);
      for (int pack = 0; layout.holds_any(pack); ++pack) {
        float values[kPack], other[kPack], sum[kPack];
        if constexpr (!Form::kVector) ahead.read(layout, pack, rows, row);  // there are no registers for more
        Layout::to_floats(ahead.x, other);
        Layout::to_floats(ahead.z, values);
        if (Form::kVector && layout.holds_any(pack + 1)) {
          ahead.read(layout, pack + 1, rows, row);
        } else if (Form::kVector && first + team + Form::kTeams < count) {
          ahead.read(layout, 0, rows, row + Form::kTeams);
        }
        observed.add_before(other, values);
        combine(layout, pack, row, knobs, rows, factors, other, values, sum);
        layout.write(rows.out[row], pack, sum);
        observed.template add_after<T>(layout, pack, sum);
      }
    }
    double sums[kSums] = {observed.z.sum,       observed.z.squares, observed.out.sum,
                          observed.out.squares, observed.x_squares, observed.products};
    team_sum<Form::kTeam>(sums, &scratch[0]);
    if (!here || lane != 0) continue;
    branch[team].add_row(sums[0], sums[1], width);
    stream[team].add_row(sums[2], sums[3], width);
    alignment[team].add_row(sums[4], sums[1], sums[5]);
  }
  const auto leave = [&](double* out, const EntryMoments& entries, const TeamMoments& of_team) {
    TeamMoments mine = {};
    if (lane == 0) mine = of_team;
    if (out != nullptr) leave_moments<kTeamBlock>(out, count, entries, mine, &scratch[0]);
  };
  leave(partials.branch.scalars, observed.branch, branch[team]);
  leave(partials.stream.scalars, observed.stream, stream[team]);
  TeamAlignment mine = {};
  if (lane == 0) mine = alignment[team];
  if (partials.alignment != nullptr) leave_alignment<kTeamBlock>(partials.alignment, mine, &scratch[0]);
}

}  // namespace

void launch_residual_observed(cudaStream_t stream, const ResidualForward& arguments,
                              const ResidualPartials& partials) {
  const bool vector =
      residual_vector_access(arguments, {arguments.x, arguments.z, arguments.x_block, arguments.out});
  const Launch how{"residual_forward with moments", dim3(static_cast<unsigned>(partials.row_blocks.count)),
                   dim3(kTeamBlock), 0, stream};
  with_element(arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    const ForwardRows<T> rows{RowsOf<const T>(arguments.x), RowsOf<const T>(arguments.z),
                              RowsOf<const T>(arguments.x_block), RowsOf<T>(arguments.out)};
    with_team<T>(arguments.x.cols(), vector, [&](auto form) {
      launch(how, residual_observed_kernel<decltype(form), T>, arguments.x.rows(),
             static_cast<int>(arguments.x.cols()), Knobs(arguments), rows, partials);
    });
  });
  ScalarSums sums(partials.row_blocks.count);
  sums.add(partials.branch.scalars, arguments.branch_moments);
  sums.add(partials.stream.scalars, arguments.stream_moments);
  sums.add(partials.alignment, arguments.alignment);
  launch_scalar_sums(stream, sums);
}

}  // namespace plumb::cuda
