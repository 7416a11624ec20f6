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

template <NormKind kKind, class T, std::size_t kRows>
void find_statistics(const std::array<const T*, kRows>& rows, std::int64_t width, float epsilon,
                     std::array<NormTransform, kRows>& transforms) {
  const float inverse_width = 1.0F / static_cast<float>(width);
  if constexpr (kKind == NormKind::LayerNorm) {
    const auto sums =
        sum_rows<kRows>(width, [&](auto load, std::size_t r, std::int64_t i) { return load(rows[r] + i); });
    for (std::size_t r = 0; r < kRows; ++r) transforms[r].mean = inverse_width * sums[r];
  }
  // About the mean, in a second pass: sum v^2 - n mean^2 would cancel.
  const auto squares = sum_rows<kRows>(width, [&](auto load, std::size_t r, std::int64_t i) {
    const auto deviation = load(rows[r] + i) - transforms[r].mean;
    return deviation * deviation;
  });
  for (std::size_t r = 0; r < kRows; ++r) {
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

template <NormKind kKind, class T>
void forward(const NormForward& arguments) {
  const char* op = "norm_forward";
  constexpr bool kDeviation = divides_by_deviation(kKind);
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols(), groups = arguments.groups;
  const NormParameters parameters(op, arguments);
  const std::int64_t width = parameters.width;
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const CoefficientView scale(op, "scale", arguments.scale, rows, cols, arguments.rows_per_sequence);
  const auto mean = Rows<float>::optional(
      op, "mean", kKind == NormKind::LayerNorm ? arguments.mean : Tensor(), rows, groups);
  const auto rstd = Rows<float>::optional(op, "rstd", kDeviation ? arguments.rstd : Tensor(), rows, groups);
  const auto epsilon = static_cast<float>(arguments.epsilon);
  WorkspaceCarver carver(arguments.workspace);
  const Scratch scratch(arguments, carver);
  const AffineColumns& affine = scratch.affine;
  if (affine.gain != nullptr) {
    parameters.expand(parameters.gain, 1.0F, scale.features(), cols, affine.gain);
    parameters.expand(parameters.bias, 0.0F, scale.features(), cols, affine.bias);
  }

  // kRows of them from row r on.
  const auto norm_rows = [&]<std::size_t kRows>(std::integral_constant<std::size_t, kRows>, std::int64_t r) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t first = group * width;
      std::array<NormTransform, kRows> transforms;
      transforms.fill({0, 1, parameters.alpha, parameters.offset});
      if constexpr (kDeviation) {
        std::array<const T*, kRows> values;
        for (std::size_t i = 0; i < kRows; ++i) values[i] = x[r + static_cast<std::int64_t>(i)] + first;
        find_statistics<kKind, T, kRows>(values, width, epsilon, transforms);
      }
      for (std::size_t i = 0; i < kRows; ++i) {
        const std::int64_t row = r + static_cast<std::int64_t>(i);
        if (mean) mean[row][group] = transforms[i].mean;
        if (rstd) rstd[row][group] = transforms[i].rstd;
        if (affine.gain != nullptr) {
          write_group<kKind, T, true>(x[row] + first, transforms[i], scale.row(row), affine.gain + first,
                                      affine.bias + first, width, y[row] + first);
        } else {
          write_group<kKind, T, false>(x[row] + first, transforms[i], scale.row(row), nullptr, nullptr, width,
                                       y[row] + first);
        }
      }
    }
  };
  const std::int64_t grain = row_grain(cols, takes_alpha(kKind) ? kExpensiveElements : kCheapElements);
  parallel_chunks(rows, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
    MomentSums::Partial moments = scratch.moments.begin(thread);
    for (std::int64_t first = begin; first < end; first += MomentSums::kGroup) {
      const std::int64_t count = std::min(MomentSums::kGroup, end - first);
      if (count == MomentSums::kGroup) {
        norm_rows(std::integral_constant<std::size_t, MomentSums::kGroup>{}, first);
      } else {
        for (std::int64_t r = first; r < first + count; ++r)
          norm_rows(std::integral_constant<std::size_t, 1>{}, r);
      }
      moments.add_rows(y, first, count);
    }
    moments.finish();
  });
  scratch.moments.store();
}

}  // namespace

void CpuNorm::norm_forward(Stream&, const NormForward& arguments) const {
  with_compute("norm_forward", arguments.x.dtype, [&](auto element) {
    with_norm_kind(arguments.kind, [&](auto kind) { forward<kind(), decltype(element)>(arguments); });
  });
}

std::size_t CpuNorm::norm_forward_workspace(const NormForward& arguments) const {
  WorkspaceCarver carver;
  Scratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
