#include <cmath>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

bool divides_by_deviation(NormKind kind) {
  return kind == NormKind::LayerNorm || kind == NormKind::RmsNorm || kind == NormKind::L2;
}
bool takes_alpha(NormKind kind) { return kind == NormKind::DyT || kind == NormKind::Derf; }

/// The parameters of a norm, and the row before gain and bias: x_hat = (v - mean) * rstd, tanh(alpha v), ...
template <class T>
struct Parameters {
  NormKind kind;
  std::int64_t width;     // D, entries per group
  std::int64_t features;  // entries of gain: D (shared by the groups) or groups * D
  Vector<T> gain, bias, alpha, offset;

  template <class Arguments>
  Parameters(const char* op, const Arguments& arguments)
      : kind(arguments.kind),
        width(arguments.x.cols() / std::max<std::int64_t>(arguments.groups, 1)),
        features(features_of(arguments)),
        gain(Vector<T>::optional(op, "gain", arguments.gain, features)),
        bias(Vector<T>::optional(op, "bias", arguments.bias, features)),
        alpha(Vector<T>::optional(op, "alpha", arguments.alpha, 1)),
        offset(Vector<T>::optional(op, "offset", arguments.offset, 1)) {
    PLUMB_CHECK(arguments.groups >= 1 && arguments.x.cols() % arguments.groups == 0,
                "{}: {} columns do not split into {} groups", op, arguments.x.cols(), arguments.groups);
    PLUMB_CHECK(arguments.rows_per_sequence >= 1, "{}: rows_per_sequence is {}", op,
                arguments.rows_per_sequence);
    PLUMB_CHECK(kind != NormKind::None || !(gain || bias), "{}: the norm none takes no gain and no bias", op);
    PLUMB_CHECK(takes_alpha(kind) == static_cast<bool>(alpha), "{}: alpha goes with dyt and derf", op);
    PLUMB_CHECK((kind == NormKind::Derf) == static_cast<bool>(offset), "{}: offset goes with derf", op);
  }

  // D unless a parameter has groups * D entries.
  template <class Arguments>
  static std::int64_t features_of(const Arguments& arguments) {
    const Tensor& tensor = arguments.gain.defined() ? arguments.gain : arguments.bias;
    const std::int64_t width = arguments.x.cols() / std::max<std::int64_t>(arguments.groups, 1);
    return tensor.elements() == arguments.x.cols() ? arguments.x.cols() : width;
  }
  std::int64_t feature(std::int64_t group, std::int64_t i) const {
    return features == width ? i : group * width + i;
  }
  double gain_at(std::int64_t group, std::int64_t i) const { return gain ? gain[feature(group, i)] : 1.0; }
  double bias_at(std::int64_t group, std::int64_t i) const { return bias ? bias[feature(group, i)] : 0.0; }

  double normalised(double v, double mean, double rstd) const {
    switch (kind) {
      case NormKind::None:
        return v;
      case NormKind::LayerNorm:
      case NormKind::RmsNorm:
      case NormKind::L2:
        return (v - mean) * rstd;
      case NormKind::DyT:
        return std::tanh(alpha[0] * static_cast<double>(v));
      case NormKind::Derf:
        return std::erf(alpha[0] * static_cast<double>(v) + offset[0]);
    }
    return v;
  }
  /// d x_hat / d (alpha v + offset) of the kinds that have it.
  double slope(double v, double x_hat) const {
    if (kind == NormKind::DyT) return 1 - x_hat * x_hat;
    const double u = alpha[0] * static_cast<double>(v) + offset[0];
    return 2 / std::sqrt(3.14159265358979323846) * std::exp(-u * u);
  }
};

struct Statistics {
  double mean = 0, rstd = 1;
};

template <class T>
Statistics statistics_of(NormKind kind, const T* v, std::int64_t width, double epsilon) {
  Statistics result;
  const auto count = static_cast<double>(width);
  if (kind == NormKind::LayerNorm) {
    for (std::int64_t i = 0; i < width; ++i) result.mean += v[i];
    result.mean /= count;
  }
  double squares = 0;
  for (std::int64_t i = 0; i < width; ++i) squares += (v[i] - result.mean) * (v[i] - result.mean);
  if (kind != NormKind::L2) squares /= count;
  result.rstd = 1 / std::sqrt(squares + epsilon);
  return result;
}

template <class T>
void forward(const NormForward& arguments) {
  const char* op = "norm_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols(), groups = arguments.groups;
  const Parameters<T> parameters(op, arguments);
  const std::int64_t width = parameters.width;
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Rows<T> y(op, "y", arguments.y, rows, cols);
  const CoefficientView<T> scale(op, "scale", arguments.scale, rows, cols, arguments.rows_per_sequence);
  const bool deviation = divides_by_deviation(arguments.kind);
  const bool centred = arguments.kind == NormKind::LayerNorm;
  const auto mean = Rows<T>::optional(op, "mean", centred ? arguments.mean : Tensor(), rows, groups);
  const auto rstd = Rows<T>::optional(op, "rstd", deviation ? arguments.rstd : Tensor(), rows, groups);

  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const T* v = x[r] + group * width;
      Statistics statistics;
      if (deviation) statistics = statistics_of(arguments.kind, v, width, arguments.epsilon);
      for (std::int64_t i = 0; i < width; ++i) {
        const double x_hat = parameters.normalised(v[i], statistics.mean, statistics.rstd);
        const double normed = parameters.gain_at(group, i) * x_hat + parameters.bias_at(group, i);
        const std::int64_t column = group * width + i;
        y[r][column] = static_cast<T>(scale.value(r, column) * normed);
      }
      if (mean) mean[r][group] = static_cast<T>(statistics.mean);
      if (rstd) rstd[r][group] = static_cast<T>(statistics.rstd);
    }
  }
  accumulate_moments(op, arguments.y, arguments.moments);
}

/// The gradients of the parameters that are asked for, summed in double.
template <class T>
struct ParameterGradients {
  Vector<T> gain, bias, alpha, offset;
  CoefficientSum<T> scale;
  double *gain_sums, *bias_sums, alpha_sum = 0, offset_sum = 0;

  ParameterGradients(const char* op, const NormBackward& arguments, std::int64_t features, Scratch& scratch)
      : gain(Vector<T>::optional(op, "dgain", arguments.dgain, features)),
        bias(Vector<T>::optional(op, "dbias", arguments.dbias, features)),
        alpha(Vector<T>::optional(op, "dalpha", arguments.dalpha, 1)),
        offset(Vector<T>::optional(op, "doffset", arguments.doffset, 1)),
        scale(op, "dscale", arguments.scale, arguments.dscale, scratch),
        gain_sums(gain ? scratch.take(features) : nullptr),
        bias_sums(bias ? scratch.take(features) : nullptr) {}

  void store() const {
    if (gain) gain.add(gain_sums);
    if (bias) bias.add(bias_sums);
    if (alpha) alpha.add(&alpha_sum);
    if (offset) offset.add(&offset_sum);
    scale.store();
  }
};

template <class T>
void backward(const NormBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "norm_backward";
  const NormKind kind = arguments.kind;
  const std::int64_t rows = arguments.dy.rows(), cols = arguments.dy.cols(), groups = arguments.groups;
  const Parameters<T> parameters(op, arguments);
  const std::int64_t width = parameters.width;
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Rows<T> dy(op, "dy", arguments.dy, rows, cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, cols);
  const CoefficientView<T> scale(op, "scale", arguments.scale, rows, cols, arguments.rows_per_sequence);
  const bool deviation = divides_by_deviation(kind);
  const bool centred = kind == NormKind::LayerNorm;
  const auto mean = Rows<T>::optional(op, "mean", centred ? arguments.mean : Tensor(), rows, groups);
  const auto rstd = Rows<T>::optional(op, "rstd", deviation ? arguments.rstd : Tensor(), rows, groups);
  PLUMB_CHECK(mean || !centred, "{}: layernorm needs the mean of the forward pass", op);
  PLUMB_CHECK(rstd || !deviation, "{}: layernorm, rmsnorm and l2 need the rstd of the forward pass", op);
  PLUMB_CHECK(!arguments.accumulate_dx || arguments.dx.data != arguments.dy.data,
              "{}: dx cannot be dy and be accumulated", op);
  Scratch scratch(op, arguments.workspace, workspace_bytes);
  ParameterGradients<T> gradients(op, arguments, parameters.features, scratch);

  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const T* v = x[r] + group * width;
      const double row_mean = mean ? mean[r][group] : 0.0, row_rstd = rstd ? rstd[r][group] : 1.0;
      double sum = 0, projection = 0;  // sums over the group of dx_hat and of dx_hat * x_hat
      for (std::int64_t i = 0; i < width; ++i) {
        const std::int64_t column = group * width + i;
        const double x_hat = parameters.normalised(v[i], row_mean, row_rstd);
        const double dnormed = dy[r][column] * scale.data_factor(r, column);
        const double dx_hat = dnormed * parameters.gain_at(group, i);
        sum += dx_hat;
        projection += dx_hat * x_hat;
        const double normed = parameters.gain_at(group, i) * x_hat + parameters.bias_at(group, i);
        gradients.scale.add(scale, r, column, dy[r][column] * normed);
        if (gradients.gain) gradients.gain_sums[parameters.feature(group, i)] += dnormed * x_hat;
        if (gradients.bias) gradients.bias_sums[parameters.feature(group, i)] += dnormed;
        if (takes_alpha(kind)) {
          const double dargument = dx_hat * parameters.slope(v[i], x_hat);
          gradients.alpha_sum += dargument * v[i];
          gradients.offset_sum += dargument;
        }
      }
      // The mean over the group where the norm divides by a root mean square, the sum where by the 2-norm.
      const double count = kind == NormKind::L2 ? 1.0 : static_cast<double>(width);
      for (std::int64_t i = 0; i < width; ++i) {
        const std::int64_t column = group * width + i;
        const double x_hat = parameters.normalised(v[i], row_mean, row_rstd);
        const double dx_hat = dy[r][column] * scale.data_factor(r, column) * parameters.gain_at(group, i);
        double dv = dx_hat;
        if (deviation) dv = row_rstd * (dx_hat - (centred ? sum / count : 0.0) - x_hat * projection / count);
        if (takes_alpha(kind)) dv = dx_hat * parameters.slope(v[i], x_hat) * parameters.alpha[0];
        dx[r][column] = static_cast<T>(arguments.accumulate_dx ? dx[r][column] + dv : dv);
      }
    }
  }
  gradients.store();
}

}  // namespace

void ReferenceNorm::norm_forward(Stream&, const NormForward& arguments) const {
  with_scalar("norm_forward", arguments.x.dtype, [&](auto scalar) { forward<decltype(scalar)>(arguments); });
}

void ReferenceNorm::norm_backward(Stream&, const NormBackward& arguments) const {
  with_scalar("norm_backward", arguments.dy.dtype, [&](auto scalar) {
    backward<decltype(scalar)>(arguments, norm_backward_workspace(arguments));
  });
}

std::size_t ReferenceNorm::norm_forward_workspace(const NormForward&) const { return 0; }

std::size_t ReferenceNorm::norm_backward_workspace(const NormBackward& arguments) const {
  return scratch_bytes(arguments.dgain.elements() + arguments.dbias.elements() +
                       arguments.dscale.feature.elements());
}

}  // namespace plumb::reference
