#include "stability/accumulators.h"

#include <limits>

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::size_t float64_bytes(std::int64_t elements) {
  return static_cast<std::size_t>(elements) * sizeof(double);
}

}  // namespace

Accumulators::Accumulators(const StatisticsShape& shape, const StatisticsLayout& layout, Backend& backend)
    : shape_(shape),
      layout_(layout),
      backend_(backend),
      memory_(backend.allocate(float64_bytes(layout.device_elements(Cadence::Detailed)))),
      shift_(backend.allocate(float64_bytes(shape.probes() * shape.width))) {
  for (const Cadence cadence : kAllCadences) {
    probes_[static_cast<std::size_t>(cadence)] = make_probes(cadence);
  }
}

Tensor Accumulators::view(std::int64_t offset, Shape shape) const {
  return Tensor(static_cast<double*>(memory_.data()) + offset, DType::Float64, shape);
}

Tensor Accumulators::shift() const {
  return Tensor(shift_.data(), DType::Float64, {shape_.probes(), shape_.width});
}

Probes Accumulators::make_probes(Cadence cadence) const {
  Probes probes;
  const auto place = [this](PartName name, std::int64_t entry, std::int64_t elements) {
    return view(layout_.part(name).device + entry * elements, {elements});
  };
  probes.loss_sums = part(kLossPart);
  for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
    MomentsView moments;
    moments.scalars = place(kMomentsPart, probe, kMomentScalars);
    if (cadence >= Cadence::Sampled) {
      moments.column_sum = place(kColumnSumPart, probe, shape_.width);
      moments.column_square = place(kColumnSquarePart, probe, shape_.width);
      moments.shift = shift().row_range(probe, 1).reshaped({shape_.width});
    }
    const bool of_stream = probe <= shape_.sublayers;
    (of_stream ? probes.stream : probes.branch).push_back(moments);
    GradientProbe& gradient = (of_stream ? probes.stream_gradient : probes.branch_gradient).emplace_back();
    gradient.square = place(kGradientPart, probe, 1);
    if (cadence >= Cadence::Sampled) gradient.largest_row_square = place(kGradientRowPart, probe, 1);
  }
  if (cadence >= Cadence::Sampled) {
    for (std::int64_t k = 0; k < shape_.sublayers; ++k) {
      ResidualProbe& probe = probes.residual.emplace_back();
      if (shape_.has_alignment) probe.alignment.scalars = place(kAlignmentPart, k, kAlignmentScalars);
      probe.step_scalar.scalars = place(kStepPart, 2 * k, kMomentScalars);
      probe.step_feature.scalars = place(kStepPart, 2 * k + 1, kMomentScalars);
    }
    for (std::int64_t norm = 0; norm < shape_.norms; ++norm) {
      NormProbe& probe = probes.norms.emplace_back();
      probe.gain.scalars = place(kNormsPart, 2 * norm, kMomentScalars);
      probe.bias.scalars = place(kNormsPart, 2 * norm + 1, kMomentScalars);
      if (takes(kSmallVectorsPart)) probe.small_vectors = place(kSmallVectorsPart, norm, 1);
      if (cadence >= Cadence::Detailed && takes(kSaturatedPart))
        probe.saturated = place(kSaturatedPart, norm, 1);
    }
  }
  if (cadence >= Cadence::Detailed) add_detailed(probes);
  return probes;
}

// What reads activations once more.
void Accumulators::add_detailed(Probes& probes) const {
  const auto place = [this](PartName name, std::int64_t first, std::int64_t elements) {
    return view(layout_.part(name).device + first, {elements});
  };
  if (takes(kMagnitudesPart) || takes(kSimilarityPart)) {
    for (std::int64_t probe = 0; probe < shape_.probes(); ++probe) {
      ActivationProbe values;
      if (takes(kMagnitudesPart))
        values.magnitudes = place(kMagnitudesPart, probe * kMagnitudeBins, kMagnitudeBins);
      if (takes(kSimilarityPart))
        values.similarity = place(kSimilarityPart, probe * kSimilaritySums, kSimilaritySums);
      (probe <= shape_.sublayers ? probes.stream_values : probes.branch_values).push_back(values);
    }
  }
  std::int64_t units = 0;
  for (std::int64_t k = 0; k < shape_.sublayers; ++k) {
    if (takes(kAttentionLogitPart)) {
      probes.attention.push_back(
          {.entropy_sums = place(kAttentionEntropyPart, k * shape_.heads, shape_.heads),
           .max_logit = place(kAttentionLogitPart, k, 1)});
    }
    if (takes(kUnitsPart)) {
      const std::int64_t own = count_at(shape_.hidden_units, k);
      probes.unit_maxima.push_back(own > 0 ? place(kUnitsPart, units, own) : Tensor());
      units += own;
    }
  }
}

void Accumulators::begin(Stream& stream, Cadence cadence) {
  const ElementwiseOps& ops = backend_.elementwise();
  ops.fill(stream, used(cadence), 0);
  ops.fill(stream, view(layout_.part(kLossPart).device + kHeadLossMaxLogit, {1}), -kInfinity);
  for (const PartName maxima : {kAttentionLogitPart, kUnitsPart}) {
    if (cadence == Cadence::Detailed && takes(maxima)) ops.fill(stream, part(maxima), -kInfinity);
  }
}

}  // namespace plumb
