#include <cmath>

#include "backends/cpu/coefficient_view.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/norm_parameters.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/thread_columns.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

/// Which sums over rows are taken. Those of gain, bias, alpha and offset leave out the factors per feature,
/// which multiply at the end.
enum Array : int { kGainSums, kBiasSums, kAlphaSums, kOffsetSums, kParameterArrays };

struct Scratch {
  bool parameters, scale;
  float* gain = nullptr;                               // gain of each column times the scale's factor
  float *plain_gain = nullptr, *plain_bias = nullptr;  // without it, for dscale
  ThreadColumns sums, scale_sums;

  Scratch(const NormBackward& arguments, WorkspaceCarver& carver)
      : parameters(arguments.dgain.defined() || arguments.dbias.defined() || arguments.dalpha.defined() ||
                   arguments.doffset.defined()),
        scale(arguments.dscale.feature.defined()),
        gain(carver.take<float>(arguments.dy.cols())),
        plain_gain(carver.take<float>(scale ? arguments.dy.cols() : 0)),
        plain_bias(carver.take<float>(scale ? arguments.dy.cols() : 0)),
        sums(carver, arrays_of(arguments), arguments.dy.cols()),
        scale_sums(carver, scale ? 1 : 0, arguments.dy.cols()) {}

  int arrays_of(const NormBackward& arguments) const {
    if (!parameters) return 0;
    return takes_alpha(arguments.kind) ? kParameterArrays : kAlphaSums;
  }
};

/// The sums over a group of dx_hat and of dx_hat * x_hat, with dx_hat the gradient of the normalised value,
/// of the kinds that divide by a deviation. factor: the scale's factor of this row.
template <class T>
TwoSums sum_group(const T* x, const T* dy, const NormTransform& transform, float factor, const float* gain,
                  std::int64_t width) {
  return sum_two(width, [&](auto load, std::int64_t i, auto& sum, auto& projection) {
    const auto dx_hat = factor * load(dy + i) * load(gain + i);
    sum += dx_hat;
    projection += dx_hat * ((load(x + i) - transform.mean) * transform.rstd);
  });
}

/// Adds a group to the sums of the parameters.
template <NormKind kKind, class T>
void sum_parameters(const T* x, const T* dy, const NormTransform& transform, float factor, const float* gain,
                    std::int64_t width, float* const* arrays) {
  float* const gain_sums = arrays[kGainSums];
  float* const bias_sums = arrays[kBiasSums];
  float* const alpha_sums = arrays[kAlphaSums];
  float* const offset_sums = arrays[kOffsetSums];
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    const auto v = static_cast<float>(x[i]);
    const float x_hat = transform.normalised<kKind>(v);
    const float dnormed = factor * static_cast<float>(dy[i]);
    gain_sums[i] += dnormed * x_hat;
    bias_sums[i] += dnormed;
    if constexpr (takes_alpha(kKind)) {
      const float dargument = dnormed * gain[i] * transform.slope<kKind>(v, x_hat);
      alpha_sums[i] += dargument * v;
      offset_sums[i] += dargument;
    }
  }
}

/// Second pass: dx. dy is read before dx is written, which may be the same view.
template <NormKind kKind, class T, bool kAccumulate>
void write_group(const T* x, const T* dy, const NormTransform& transform, float factor, const float* gain,
                 const TwoSums& sums, std::int64_t width, T* dx) {
  // The mean over the group where the norm divides by a root mean square, the sum where by the 2-norm.
  const float share = kKind == NormKind::L2 ? 1.0F : 1.0F / static_cast<float>(width);
  const float mean = kKind == NormKind::LayerNorm ? sums.first * share : 0.0F;
  const float projection = sums.second * share;
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    const auto v = static_cast<float>(x[i]);
    const float dx_hat = factor * static_cast<float>(dy[i]) * gain[i];
    float dv = dx_hat;
    if constexpr (kKind != NormKind::None) {
      const float x_hat = transform.normalised<kKind>(v);
      if constexpr (divides_by_deviation(kKind)) {
        dv = transform.rstd * (dx_hat - mean - x_hat * projection);
      } else {
        dv = dx_hat * transform.slope<kKind>(v, x_hat) * transform.alpha;
      }
    }
    store(kAccumulate ? static_cast<float>(dx[i]) + dv : dv, &dx[i]);
  }
}

/// sums[i] += other * dy[i] * (x_hat gain + bias): the gradient of the scale's trainable factor.
template <NormKind kKind, class T>
void sum_scale(const T* x, const T* dy, const NormTransform& transform, float other, const float* gain,
               const float* bias, std::int64_t width, float* sums) {
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    const float x_hat = transform.normalised<kKind>(static_cast<float>(x[i]));
    sums[i] += other * static_cast<float>(dy[i]) * (x_hat * gain[i] + bias[i]);
  }
}

/// A backward pass over rows; everything is checked when it is made.
template <NormKind kKind, class T>
class Backward {
 public:
  explicit Backward(const NormBackward& arguments)
      : arguments_(arguments),
        rows_(arguments.dy.rows()),
        cols_(arguments.dy.cols()),
        parameters_(kOp, arguments),
        x_(kOp, "x", arguments.x, rows_, cols_),
        dy_(kOp, "dy", arguments.dy, rows_, cols_),
        dx_(kOp, "dx", arguments.dx, rows_, cols_),
        scale_(kOp, "scale", arguments.scale, rows_, cols_, arguments.rows_per_sequence),
        mean_(Rows<float>::optional(kOp, "mean", kCentred ? arguments.mean : Tensor(), rows_,
                                    arguments.groups)),
        rstd_(Rows<float>::optional(kOp, "rstd", kDeviation ? arguments.rstd : Tensor(), rows_,
                                    arguments.groups)),
        carver_(arguments.workspace),
        scratch_(arguments, carver_) {
    PLUMB_CHECK(mean_ || !kCentred, "{}: layernorm needs the mean of the forward pass", kOp);
    PLUMB_CHECK(rstd_ || !kDeviation, "{}: layernorm, rmsnorm and l2 need the rstd of the forward pass", kOp);
    PLUMB_CHECK(!arguments.accumulate_dx || arguments.dx.data != arguments.dy.data,
                "{}: dx cannot be dy and be accumulated", kOp);
    parameters_.expand(parameters_.gain, 1.0F, scale_.data_features(), cols_, scratch_.gain);
    if (!scratch_.scale) return;
    parameters_.expand(parameters_.gain, 1.0F, nullptr, cols_, scratch_.plain_gain);
    parameters_.expand(parameters_.bias, 0.0F, nullptr, cols_, scratch_.plain_bias);
  }

  void run() const {
    const std::int64_t grain = row_grain(cols_, takes_alpha(kKind) ? kExpensiveElements : kCheapElements / 2);
    parallel_chunks(rows_, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
      ThreadColumns::Partial sums = scratch_.sums.begin(thread);
      ThreadColumns::Partial scale_sums = scratch_.scale_sums.begin(thread);
      for (std::int64_t r = begin; r < end; ++r) {
        run_row(r, sums, scale_sums);
        sums.end_rows(1);
        scale_sums.end_rows(1);
      }
      sums.flush();
      scale_sums.flush();
    });
    store();
  }

 private:
  void run_row(std::int64_t r, const ThreadColumns::Partial& sums,
               const ThreadColumns::Partial& scale_sums) const {
    const float factor = scale_.data_row(r);
    const std::int64_t width = parameters_.width;
    for (std::int64_t group = 0; group < arguments_.groups; ++group) {
      const std::int64_t first = group * width;
      const T *x = x_[r] + first, *dy = dy_[r] + first;
      const float* gain = scratch_.gain + first;
      NormTransform transform{0, 1, parameters_.alpha, parameters_.offset};
      if constexpr (kCentred) transform.mean = mean_[r][group];
      if constexpr (kDeviation) transform.rstd = rstd_[r][group];
      if (scratch_.scale)
        sum_scale<kKind>(x, dy, transform, scale_.other_factors(r), scratch_.plain_gain + first,
                         scratch_.plain_bias + first, width, scale_sums.array(0) + first);
      if (scratch_.parameters) {
        float* const arrays[] = {sums.array(kGainSums) + first, sums.array(kBiasSums) + first,
                                 sums.array(kAlphaSums) + first, sums.array(kOffsetSums) + first};
        sum_parameters<kKind>(x, dy, transform, factor, gain, width, arrays);
      }
      TwoSums group_sums;
      if constexpr (kDeviation) group_sums = sum_group(x, dy, transform, factor, gain, width);
      if (arguments_.accumulate_dx) {
        write_group<kKind, T, true>(x, dy, transform, factor, gain, group_sums, width, dx_[r] + first);
      } else {
        write_group<kKind, T, false>(x, dy, transform, factor, gain, group_sums, width, dx_[r] + first);
      }
    }
  }

  void store() const {
    const std::int64_t features = parameters_.features;
    scratch_.sums.combine();
    add(arguments_.dgain, "dgain", features, scratch_.sums, kGainSums, scale_.data_features());
    add(arguments_.dbias, "dbias", features, scratch_.sums, kBiasSums, scale_.data_features());
    add(arguments_.dalpha, "dalpha", 1, scratch_.sums, kAlphaSums, nullptr);
    add(arguments_.doffset, "doffset", 1, scratch_.sums, kOffsetSums, nullptr);
    scratch_.scale_sums.combine();
    add(arguments_.dscale.feature, "dscale", arguments_.scale.feature.elements(), scratch_.scale_sums, 0,
        nullptr);
  }
  static void add(const Tensor& gradient, const char* name, std::int64_t features, const ThreadColumns& sums,
                  int array, const float* factor) {
    if (!gradient.defined()) return;
    sums.add_to(vector_of<float>(kOp, name, gradient, features), features, array, factor);
  }

  static constexpr const char* kOp = "norm_backward";
  static constexpr bool kDeviation = divides_by_deviation(kKind);
  static constexpr bool kCentred = kKind == NormKind::LayerNorm;

  const NormBackward& arguments_;
  std::int64_t rows_, cols_;
  NormParameters parameters_;
  Rows<T> x_, dy_, dx_;
  CoefficientView scale_;
  Rows<float> mean_, rstd_;
  WorkspaceCarver carver_;
  Scratch scratch_;
};

}  // namespace

void CpuNorm::norm_backward(Stream&, const NormBackward& arguments) const {
  PLUMB_CHECK(takes_alpha(arguments.kind) || !(arguments.dalpha.defined() || arguments.doffset.defined()),
              "norm_backward: dalpha and doffset go with dyt and derf");
  with_compute("norm_backward", arguments.dy.dtype, [&](auto element) {
    with_norm_kind(arguments.kind, [&](auto kind) { Backward<kind(), decltype(element)>(arguments).run(); });
  });
}

std::size_t CpuNorm::norm_backward_workspace(const NormBackward& arguments) const {
  WorkspaceCarver carver;
  Scratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
