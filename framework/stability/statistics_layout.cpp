#include "stability/statistics_layout.h"

namespace plumb {

StatisticsLayout::StatisticsLayout(const StatisticsShape& shape, const StatisticsSettings& settings)
    : probes_(shape.probes()) {
  const auto set = [this](PartName name, Cadence cadence, Exchange exchange, std::int64_t elements) {
    parts_[name] = {.cadence = cadence, .exchange = exchange, .elements = elements};
  };
  set(kLossPart, Cadence::EveryStep, Exchange::None, kHeadLossSums);
  set(kMomentsPart, Cadence::EveryStep, Exchange::None, probes_ * kMomentScalars);
  set(kGradientPart, Cadence::EveryStep, Exchange::Sum, probes_);
  set(kTensorsPart, Cadence::EveryStep, Exchange::Gather, shape.tensors);
  set(kGradientRowPart, Cadence::Sampled, Exchange::Gather, probes_);
  set(kColumnSumPart, Cadence::Sampled, Exchange::Sum, probes_ * shape.width);
  set(kColumnSquarePart, Cadence::Sampled, Exchange::Sum, probes_ * shape.width);
  if (shape.has_alignment) {
    set(kAlignmentPart, Cadence::Sampled, Exchange::Sum, shape.sublayers * kAlignmentScalars);
  }
  set(kStepPart, Cadence::Sampled, Exchange::None, shape.sublayers * 2 * kMomentScalars);
  set(kNormsPart, Cadence::Sampled, Exchange::None, shape.norms * 2 * kMomentScalars);
  if (settings.has("attention") && !shape.is_attention.empty()) {
    set(kAttentionEntropyPart, Cadence::Detailed, Exchange::Sum, shape.sublayers * shape.heads);
    set(kAttentionLogitPart, Cadence::Detailed, Exchange::Gather, shape.sublayers);
  }
  // What nobody asked for, or the model has no place for, takes no room.
  const auto set_if = [&](std::string_view key, PartName name, Cadence cadence, std::int64_t elements) {
    if (settings.has(key)) set(name, cadence, Exchange::Sum, elements);
  };
  if (sum_of_counts(shape.norm_vectors) > 0)
    set_if("small_variance", kSmallVectorsPart, Cadence::Sampled, shape.norms);
  if (sum_of_counts(shape.norm_bounded) > 0)
    set_if("saturation", kSaturatedPart, Cadence::Detailed, shape.norms);
  set_if("dead_units", kUnitsPart, Cadence::Detailed, sum_of_counts(shape.hidden_units));
  set_if("massive_activations", kMagnitudesPart, Cadence::Detailed, probes_ * kMagnitudeBins);
  set_if("token_similarity", kSimilarityPart, Cadence::Detailed, probes_ * kSimilaritySums);
  place();
}

void StatisticsLayout::place() {
  std::int64_t device = 0, sums = probes_ * kSummedMoments, row = row_maxima() + probes_ * kTrackedValues;
  for (int cadence = 0; cadence < kCadences; ++cadence) {
    for (Part& part : parts_) {
      if (static_cast<int>(part.cadence) != cadence) continue;
      part.device = device;
      device += part.elements;
      if (part.exchange == Exchange::None) continue;
      std::int64_t& end = part.exchange == Exchange::Sum ? sums : row;
      part.exchanged = end;
      end += part.elements;
    }
    const auto i = static_cast<std::size_t>(cadence);
    device_[i] = device;
    sums_[i] = sums;
    row_[i] = row;
  }
  // A step that is not sampled sums nothing and sends the head of the row.
  sums_[0] = 0;
  row_[0] = kRowEntries;
}

}  // namespace plumb
