// Where every statistic of a step lies: in the device buffer and in the two messages that cross ranks.
#pragma once

#include <array>
#include <cstdint>

#include "backend/magnitude_bins.h"
#include "backend/ops/alignment.h"
#include "backend/ops/head_loss.h"
#include "backend/ops/moments.h"
#include "backend/ops/observations.h"
#include "stability/statistics_settings.h"
#include "stability/statistics_shape.h"

namespace plumb {

/// First entries of the row that every rank contributes in every step.
enum RowEntry : int {
  kRowTargets = 0,  ///< targets of this rank
  kRowSequences,    ///< sequences of this rank
  kRowCrossEntropy,
  kRowLogZ,
  kRowLogZSquared,
  kRowMaxLogit,
  kRowMaxAbs,
  kRowGradientSquare,  ///< sum over tensors of gradient_squares_local
  kRowStepSeconds,
  kRowWaitSeconds,
  kRowPreemptedSeconds,
  kRowOverflows,      ///< sum of kMomentOverflows over probes
  kRowStopRequested,  ///< 1 when this rank was asked to save and end
  kRowEntries
};

/// Rank-local values whose extremes are kept from one sampled step to the next.
enum TrackedValue : int { kTrackedMeanAbs = 0, kTrackedEntryVariance, kTrackedMaxAbs, kTrackedValues };

/// Sums of a probe that add up over ranks exactly: the first entries of MomentScalar.
inline constexpr int kSummedMoments = kMomentMaxAbs;

/// In which steps something is taken.
enum class Cadence {
  EveryStep = 0,
  Sampled,   ///< those with a record in stability.jsonl
  Detailed,  ///< of the sampled ones, those that have what reads activations once more
};
inline constexpr int kCadences = 3;
inline constexpr Cadence kAllCadences[kCadences] = {Cadence::EveryStep, Cadence::Sampled, Cadence::Detailed};

/// How a part of the device buffer meets that of the other ranks in a sampled step.
enum class Exchange {
  None,    ///< not as it is: the same on all ranks, or packed value by value
  Sum,     ///< in the all-reduce
  Gather,  ///< in the rank's row of the all-gather
};

/// Parts of the device buffer. K sublayers, M = 2K+1 probes (stream 0..K, then branch 0..K-1), N norms.
enum PartName : int {
  kLossPart = 0,     ///< (kHeadLossSums), packed into the first entries of the row
  kMomentsPart,      ///< (M, kMomentScalars), sums and maxima packed apart
  kGradientPart,     ///< (M) squares of dL/dx of the probes
  kTensorsPart,      ///< (P) local gradient squares
  kGradientRowPart,  ///< (M) square of the largest row of dL/dx
  kColumnSumPart,    ///< (M, C)
  kColumnSquarePart,
  kAlignmentPart,         ///< (K, kAlignmentScalars)
  kStepPart,              ///< (K, 2, kMomentScalars) of the factors of b, the same on all ranks
  kNormsPart,             ///< (N, 2, kMomentScalars) of gain and bias, the same on all ranks
  kAttentionEntropyPart,  ///< (K, H) sums over rows
  kAttentionLogitPart,    ///< (K) maxima
  kSmallVectorsPart,      ///< (N) vectors whose variance is below 10 eps
  kSaturatedPart,         ///< (N) entries where DyT or Derf is flat
  kUnitsPart,             ///< (U) hidden units of all FFNs: their maxima, summed as 1 where above 0, else 0
  kMagnitudesPart,        ///< (M, kMagnitudeBins)
  kSimilarityPart,        ///< (M, kSimilaritySums)
  kParts
};

struct Part {
  Cadence cadence = Cadence::EveryStep;
  Exchange exchange = Exchange::None;
  std::int64_t elements = 0;   ///< 0: not taken
  std::int64_t device = 0;     ///< offset in the device buffer
  std::int64_t exchanged = 0;  ///< offset in the all-reduce (Sum) or in the row (Gather)
};

/// Offsets in float64 elements.
///
/// Device buffer: the parts, those of a cadence after those of more frequent ones. A step zeroes and reads
/// the parts of its cadence and the more frequent ones (but max logit starts at -infinity). All-reduce (sum)
/// of a sampled step: moments (M, kSummedMoments), then the parts that are summed. All-gather, one row per
/// rank: (kRowEntries), and in a sampled step also
///   (M): max_abs | (M): largest squared row_norm | (M, kTrackedValues): minima | the same: maxima
///   | the parts that are gathered
class StatisticsLayout {
 public:
  StatisticsLayout(const StatisticsShape& shape, const StatisticsSettings& settings);

  const Part& part(PartName name) const { return parts_[name]; }
  const std::array<Part, kParts>& parts() const { return parts_; }
  std::int64_t probes() const { return probes_; }

  /// Elements that a step of this cadence uses.
  std::int64_t device_elements(Cadence cadence) const { return device_[static_cast<int>(cadence)]; }
  std::int64_t sum_elements(Cadence cadence) const { return sums_[static_cast<int>(cadence)]; }
  std::int64_t row_elements(Cadence cadence) const { return row_[static_cast<int>(cadence)]; }

  // In the row of a sampled step.
  std::int64_t row_max_abs() const { return kRowEntries; }
  std::int64_t row_max_row_squares() const { return row_max_abs() + probes_; }
  std::int64_t row_minima() const { return row_max_row_squares() + probes_; }
  std::int64_t row_maxima() const { return row_minima() + probes_ * kTrackedValues; }

 private:
  void place();

  std::int64_t probes_;
  std::array<Part, kParts> parts_;
  std::array<std::int64_t, kCadences> device_{}, sums_{}, row_{};
};

}  // namespace plumb
