#include "backends/cuda/norm.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/launch_rules.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

bool divides(NormKind kind) {
  return kind == NormKind::LayerNorm || kind == NormKind::RmsNorm || kind == NormKind::L2;
}
bool takes_alpha(NormKind kind) { return kind == NormKind::DyT || kind == NormKind::Derf; }

/// Entries of gain and bias: D (shared by the groups) or groups * D.
template <class Arguments>
std::int64_t features_of(const Arguments& arguments) {
  const std::int64_t cols = arguments.x.cols();
  const Tensor& first = arguments.gain.defined() ? arguments.gain : arguments.bias;
  return first.elements() == cols ? cols : cols / arguments.groups;
}

/// What both directions have; rows of x are those of `like`.
template <class Arguments>
void require_norm(const char* op, const Arguments& arguments, const Tensor& like) {
  const std::int64_t rows = like.rows(), cols = like.cols(), groups = arguments.groups;
  const NormKind kind = arguments.kind;
  require_compute(op, like.dtype);
  PLUMB_CHECK(groups >= 1 && cols % groups == 0, "{}: {} columns do not split into {} groups", op, cols,
              groups);
  PLUMB_CHECK(arguments.rows_per_sequence >= 1, "{}: rows_per_sequence is {}", op,
              arguments.rows_per_sequence);
  require_rows(op, "x", arguments.x, like.dtype, rows, cols);
  const std::int64_t features = features_of(arguments);
  optional_vector(op, "gain", arguments.gain, DType::Float32, features);
  optional_vector(op, "bias", arguments.bias, DType::Float32, features);
  PLUMB_CHECK(kind != NormKind::None || !(arguments.gain.defined() || arguments.bias.defined()),
              "{}: the norm none takes no gain and no bias", op);
  PLUMB_CHECK(takes_alpha(kind) == arguments.alpha.defined(), "{}: alpha goes with dyt and derf", op);
  PLUMB_CHECK((kind == NormKind::Derf) == arguments.offset.defined(), "{}: offset goes with derf", op);
  optional_vector(op, "alpha", arguments.alpha, DType::Float32, 1);
  optional_vector(op, "offset", arguments.offset, DType::Float32, 1);
  require_coefficient(op, "scale", arguments.scale, rows, cols, arguments.rows_per_sequence);
  if (kind == NormKind::LayerNorm) optional_rows(op, "mean", arguments.mean, DType::Float32, rows, groups);
  if (divides(kind)) optional_rows(op, "rstd", arguments.rstd, DType::Float32, rows, groups);
}

void require_backward(const char* op, const NormBackward& arguments) {
  const NormKind kind = arguments.kind;
  const Tensor& dy = arguments.dy;
  PLUMB_CHECK(takes_alpha(kind) || !(arguments.dalpha.defined() || arguments.doffset.defined()),
              "{}: dalpha and doffset go with dyt and derf", op);
  require_norm(op, arguments, dy);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "dx", arguments.dx, dy.dtype, dy.rows(), dy.cols());
  PLUMB_CHECK(arguments.mean.defined() || kind != NormKind::LayerNorm,
              "{}: layernorm needs the mean of the forward pass", op);
  PLUMB_CHECK(arguments.rstd.defined() || !divides(kind),
              "{}: layernorm, rmsnorm and l2 need the rstd of the forward pass", op);
  PLUMB_CHECK(!arguments.accumulate_dx || arguments.dx.data != dy.data,
              "{}: dx cannot be dy and be accumulated", op);
  const std::int64_t features = features_of(arguments);
  optional_vector(op, "dgain", arguments.dgain, DType::Float32, features);
  optional_vector(op, "dbias", arguments.dbias, DType::Float32, features);
  optional_vector(op, "dalpha", arguments.dalpha, DType::Float32, 1);
  optional_vector(op, "doffset", arguments.doffset, DType::Float32, 1);
  require_coefficient_gradient(op, "dscale", arguments.scale, arguments.dscale);
}

/// Floats of shared memory that a block may have for its sums; 20 KiB stay for rows on their way.
std::int64_t most_shared_sums() {
  return static_cast<std::int64_t>((shared_bytes_of_block() - kSharedReserve - 20 * 1024) / sizeof(float));
}

NormPartials take_partials(WorkspaceCarver& carver, const NormBackward& arguments) {
  const bool gain = arguments.dgain.defined(), bias = arguments.dbias.defined();
  const bool alpha = arguments.dalpha.defined(), offset = arguments.doffset.defined();
  const bool scale = arguments.dscale.feature.defined();
  const bool single = arguments.scale.feature.elements() == 1;
  const std::int64_t cols = arguments.x.cols(), width = cols / arguments.groups;
  NormPartials partials;
  partials.row_blocks = norm_row_blocks(arguments, gain || bias || alpha || offset || scale);
  const std::int64_t row_blocks = partials.row_blocks.count, blocks = row_blocks * arguments.groups;
  const auto sums = [&](bool wanted) { return wanted ? carver.take<float>(row_blocks * cols) : nullptr; };
  const auto totals = [&](bool wanted) { return wanted ? carver.take<double>(blocks) : nullptr; };
  partials.gain = sums(gain);
  partials.bias = sums(bias);
  partials.scale = sums(scale && !single);
  partials.alpha = totals(alpha);
  partials.offset = totals(offset);
  partials.single_scale = totals(scale && single);
  const int arrays = gain + bias + (scale && !single);
  const std::int64_t wide = wide_sums_of_block(width, arrays, size_of(arguments.dy.dtype));
  if (wide > most_shared_sums()) partials.wide_sums = carver.take<float>(blocks * wide);
  return partials;
}

struct ForwardScratch {
  NormMoments fused;
  MomentsScratch moments;

  ForwardScratch(WorkspaceCarver& carver, const NormForward& arguments) {
    const Tensor& x = arguments.x;
    const bool fuses = arguments.moments.defined() && arguments.groups == 1;
    if (fuses) fused.row_blocks = observed_row_blocks(x.rows(), x.cols(), size_of(x.dtype));
    moments = take_moments_scratch(carver, arguments.moments, x.rows(), x.cols(), fused.row_blocks.count);
    if (fuses) fused.scalars = moments.scalars;
  }
};

}  // namespace

void CudaNorm::norm_forward(Stream& stream, const NormForward& arguments) const {
  const char* op = "norm_forward";
  const Tensor& x = arguments.x;
  require_norm(op, arguments, x);
  require_rows(op, "y", arguments.y, x.dtype, x.rows(), x.cols());
  require_moments(op, arguments.moments, x.cols());
  if (x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  const ForwardScratch scratch(carver, arguments);
  const cudaStream_t handle = handle_of(stream);
  launch_norm_forward(handle, arguments, scratch.fused);
  if (scratch.fused.scalars != nullptr) {
    launch_column_moments(handle, arguments.y, arguments.moments, scratch.moments);
  } else {
    launch_moments(handle, arguments.y, arguments.moments, scratch.moments);  // a row has several teams
  }
}

void CudaNorm::norm_backward(Stream& stream, const NormBackward& arguments) const {
  require_backward("norm_backward", arguments);
  if (arguments.dy.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_norm_backward(handle_of(stream), arguments, take_partials(carver, arguments));
}

std::size_t CudaNorm::norm_forward_workspace(const NormForward& arguments) const {
  WorkspaceCarver carver;
  ForwardScratch(carver, arguments);
  return carver.bytes();
}

std::size_t CudaNorm::norm_backward_workspace(const NormBackward& arguments) const {
  WorkspaceCarver carver;
  take_partials(carver, arguments);
  return carver.bytes();
}

}  // namespace plumb::cuda
