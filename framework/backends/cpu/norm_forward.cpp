#include <array>
#include <cmath>

#include "backends/cpu/coefficient_view.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/moment_sums.h"
#include "backends/cpu/norm_parameters.h"
#include "backends/cpu/row_sums.h"

namespace plumb::cpu {
namespace {

/// Gain and bias of each column with the scale's factor of that column; null when there is none of them.
struct AffineColumns {
  float *gain = nullptr, *bias = nullptr;

  AffineColumns(const NormForward& arguments, WorkspaceCarver& carver) {
    if (!arguments.gain.defined() && !arguments.bias.defined() && arguments.scale.feature.elements() <= 1)
      return;
    gain = carver.take<float>(arguments.x.cols());
    bias = carver.take<float>(arguments.x.cols());
  }
};

struct Scratch {
  AffineColumns affine;
  MomentSums moments;
  Scratch(const NormForward& arguments, WorkspaceCarver& carver)
      : affine(arguments, carver), moments("norm_forward", arguments.moments, arguments.x.cols(), carver) {}
};

/// So many rows are worked on together. Fewer at the end of a chunk go the same way beside copies of the last
/// one: which rows are neighbours depends on the number of threads, and their bits may not.
constexpr std::size_t kTogether = MomentSums::kGroup;
template <class T>
using RowsTogether = std::array<const T*, kTogether>;
using Transforms = std::array<NormTransform, kTogether>;

template <NormKind kKind, class T>
void find_statistics(const RowsTogether<T>& rows, std::int64_t width, float epsilon, Transforms& transforms) {
  const float inverse_width = 1.0F / static_cast<float>(width);
  if constexpr (kKind == NormKind::LayerNorm) {
    const auto sums = sum_rows<kTogether>(
        width, [&](auto load, std::size_t r, std::int64_t i) { return load(rows[r] + i); });
    for (std::size_t r = 0; r < kTogether; ++r) transforms[r].mean = inverse_width * sums[r];
  }
  // About the mean, in a second pass: sum v^2 - n mean^2 would cancel.
  const auto squares = sum_rows<kTogether>(width, [&](auto load, std::size_t r, std::int64_t i) {
    const auto deviation = load(rows[r] + i) - transforms[r].mean;
    return deviation * deviation;
  });
  for (std::size_t r = 0; r < kTogether; ++r) {
    const float square = kKind == NormKind::L2 ? squares[r] : squares[r] * inverse_width;
    transforms[r].rstd = 1.0F / std::sqrt(square + epsilon);
  }
}

/// y = factor * (normalised * gain + bias).
template <NormKind kKind, class T, bool kAffine>
void write_group(const T* x, const NormTransform& transform, float factor, const float* gain,
                 const float* bias, std::int64_t width, T* y) {
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    float value = transform.normalised<kKind>(static_cast<float>(x[i]));
    if constexpr (kAffine) value = value * gain[i] + bias[i];
    store(factor * value, &y[i]);
  }
}

/// A forward pass over rows; everything is checked when it is made.
template <NormKind kKind, class T>
class Forward {
 public:
  explicit Forward(const NormForward& arguments)
      : groups_(arguments.groups),
        rows_(arguments.x.rows()),
        cols_(arguments.x.cols()),
        parameters_(kOp, arguments),
        x_(kOp, "x", arguments.x, rows_, cols_),
        y_(kOp, "y", arguments.y, rows_, cols_),
        scale_(kOp, "scale", arguments.scale, rows_, cols_, arguments.rows_per_sequence),
        mean_(Rows<float>::optional(kOp, "mean", kCentred ? arguments.mean : Tensor(), rows_, groups_)),
        rstd_(Rows<float>::optional(kOp, "rstd", kDeviation ? arguments.rstd : Tensor(), rows_, groups_)),
        epsilon_(static_cast<float>(arguments.epsilon)),
        carver_(arguments.workspace),
        scratch_(arguments, carver_) {
    const AffineColumns& affine = scratch_.affine;
    if (affine.gain == nullptr) return;
    parameters_.expand(parameters_.gain, 1.0F, scale_.features(), cols_, affine.gain);
    parameters_.expand(parameters_.bias, 0.0F, scale_.features(), cols_, affine.bias);
  }

  void run() const {
    const std::int64_t grain = row_grain(cols_, takes_alpha(kKind) ? kExpensiveElements : kCheapElements);
    parallel_chunks(rows_, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
      MomentSums::Partial moments = scratch_.moments.begin(thread);
      for (std::int64_t first = begin; first < end; first += MomentSums::kGroup) {
        const std::int64_t count = std::min(MomentSums::kGroup, end - first);
        for (std::int64_t group = 0; group < groups_; ++group) run_group(first, count, group);
        moments.add_rows(y_, first, count);
      }
      moments.finish();
    });
    scratch_.moments.store();
  }

 private:
  /// One group of rows [first, first + count).
  void run_group(std::int64_t first, std::int64_t count, std::int64_t group) const {
    const std::int64_t column = group * parameters_.width;
    Transforms transforms;
    transforms.fill({0, 1, parameters_.alpha, parameters_.offset});
    if constexpr (kDeviation) {
      RowsTogether<T> rows;
      for (std::size_t i = 0; i < kTogether; ++i)
        rows[i] = x_[first + std::min(static_cast<std::int64_t>(i), count - 1)] + column;
      find_statistics<kKind>(rows, parameters_.width, epsilon_, transforms);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const NormTransform& transform = transforms[static_cast<std::size_t>(i)];
      if (mean_) mean_[first + i][group] = transform.mean;
      if (rstd_) rstd_[first + i][group] = transform.rstd;
      write(first + i, column, transform);
    }
  }

  void write(std::int64_t row, std::int64_t column, const NormTransform& transform) const {
    const T* x = x_[row] + column;
    T* y = y_[row] + column;
    const auto [gain, bias] = scratch_.affine;
    const float factor = scale_.row(row);
    if (gain != nullptr) {
      write_group<kKind, T, true>(x, transform, factor, gain + column, bias + column, parameters_.width, y);
    } else {
      write_group<kKind, T, false>(x, transform, factor, nullptr, nullptr, parameters_.width, y);
    }
  }

  static constexpr const char* kOp = "norm_forward";
  static constexpr bool kDeviation = divides_by_deviation(kKind);
  static constexpr bool kCentred = kKind == NormKind::LayerNorm;

  std::int64_t groups_, rows_, cols_;
  NormParameters parameters_;
  Rows<T> x_, y_;
  CoefficientView scale_;
  Rows<float> mean_, rstd_;
  float epsilon_;
  WorkspaceCarver carver_;
  Scratch scratch_;
};

}  // namespace

void CpuNorm::norm_forward(Stream&, const NormForward& arguments) const {
  with_compute("norm_forward", arguments.x.dtype, [&](auto element) {
    with_norm_kind(arguments.kind, [&](auto kind) { Forward<kind(), decltype(element)>(arguments).run(); });
  });
}

std::size_t CpuNorm::norm_forward_workspace(const NormForward& arguments) const {
  WorkspaceCarver carver;
  Scratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
