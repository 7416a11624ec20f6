#include "backends/cuda/parameter.h"

#include <algorithm>

#include "backend/ops/optimizer.h"
#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

void check_kind(const char* op, CoefficientMapKind kind) {
  PLUMB_CHECK(kind == CoefficientMapKind::Absolute || kind == CoefficientMapKind::OneMinusSilu,
              "{}: unknown coefficient map {}", op, static_cast<int>(kind));
}

template <class Arguments>
void check_factors(const char* op, const Arguments& arguments) {
  const std::int64_t rows = arguments.x.rows(), gains = arguments.gain.elements();
  optional_vector(op, "scalar", arguments.scalar, DType::Float32, 1);
  optional_vector(op, "gain", arguments.gain, DType::Float32, gains == 1 ? 1 : rows);
}

double* gain_partials(const RowGainBackward& arguments, WorkspaceCarver& carver) {
  if (arguments.dgain.elements() != 1 || arguments.x.elements() == 0) return nullptr;
  return carver.take<double>(row_gain_blocks(arguments));
}

/// Weights are worked on one after the other and share them.
double* spheres_partials(std::span<const SphereWeight> weights, WorkspaceCarver& carver) {
  std::int64_t most = 0;
  for (const SphereWeight& weight : weights) most = std::max(most, sphere_partials(weight));
  return most == 0 ? nullptr : carver.take<double>(most);
}

}  // namespace

void CudaParameter::coefficient_map_forward(Stream& stream, const CoefficientMap& arguments) const {
  const char* op = "coefficient_map_forward";
  const std::int64_t n = arguments.x.elements();
  check_kind(op, arguments.kind);
  require_vector(op, "x", arguments.x, DType::Float32, n);
  require_vector(op, "y", arguments.y, DType::Float32, n);
  PLUMB_CHECK(arguments.y.data != arguments.x.data, "{}: y overlaps x", op);
  if (n > 0) launch_coefficient_map_forward(handle_of(stream), arguments);
}

void CudaParameter::coefficient_map_backward(Stream& stream, const CoefficientMapBackward& arguments) const {
  const char* op = "coefficient_map_backward";
  const std::int64_t n = arguments.x.elements();
  check_kind(op, arguments.kind);
  require_vector(op, "x", arguments.x, DType::Float32, n);
  require_vector(op, "dy", arguments.dy, DType::Float32, n);
  require_vector(op, "dx", arguments.dx, DType::Float32, n);
  if (n > 0) launch_coefficient_map_backward(handle_of(stream), arguments);
}

void CudaParameter::row_gain_forward(Stream& stream, const RowGain& arguments) const {
  const char* op = "row_gain_forward";
  const Tensor& x = arguments.x;
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "y", arguments.y, x.dtype, x.rows(), x.cols());
  check_factors(op, arguments);
  PLUMB_CHECK(arguments.y.data != x.data, "{}: y overlaps x", op);
  if (x.elements() > 0) launch_row_gain_forward(handle_of(stream), arguments);
}

void CudaParameter::row_gain_backward(Stream& stream, const RowGainBackward& arguments) const {
  const char* op = "row_gain_backward";
  const Tensor& x = arguments.x;
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "dy", arguments.dy, DType::Float32, x.rows(), x.cols());
  require_rows(op, "dx", arguments.dx, DType::Float32, x.rows(), x.cols());
  check_factors(op, arguments);
  PLUMB_CHECK(arguments.gain.defined() || !arguments.dgain.defined(), "{}: dgain needs a gain", op);
  PLUMB_CHECK(arguments.dx.data != arguments.dy.data, "{}: dx overlaps dy", op);
  optional_vector(op, "dgain", arguments.dgain, DType::Float32, arguments.gain.elements());
  if (x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_row_gain_backward(handle_of(stream), arguments, gain_partials(arguments, carver));
}

std::size_t CudaParameter::row_gain_backward_workspace(const RowGainBackward& arguments) const {
  WorkspaceCarver carver;
  gain_partials(arguments, carver);
  return carver.bytes();
}

void CudaParameter::normalize_spheres(Stream& stream, const NormalizeSpheres& arguments,
                                      std::span<const SphereWeight> weights) const {
  const char* op = "normalize_spheres";
  optional_vector(op, "step_scalars", arguments.step_scalars, DType::Float64, kStepScalars);
  for (const SphereWeight& weight : weights) {  // before anything changes
    const Tensor &value = weight.value, &copy = weight.compute_copy;
    require_rows(op, "value", value, DType::Float32, value.rows(), value.cols());
    if (copy.defined()) require_compute(op, copy.dtype);
    optional_rows(op, "compute_copy", copy, copy.dtype, value.rows(), value.cols());
  }
  WorkspaceCarver carver(arguments.workspace);
  double* partials = spheres_partials(weights, carver);
  for (const SphereWeight& weight : weights)
    if (weight.value.elements() > 0) launch_normalize_sphere(handle_of(stream), arguments, weight, partials);
}

std::size_t CudaParameter::normalize_spheres_workspace(std::span<const SphereWeight> weights) const {
  WorkspaceCarver carver;
  spheres_partials(weights, carver);
  return carver.bytes();
}

}  // namespace plumb::cuda
