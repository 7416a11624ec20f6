// Probes: where statistics are taken in one forward and backward pass. nn emits into these views; stability
// owns the memory behind them and knows what the numbers mean.
#pragma once

#include <vector>

#include "backend/magnitude_bins.h"
#include "backend/ops/alignment.h"
#include "backend/ops/moments.h"
#include "backend/ops/observations.h"
#include "core/tensor.h"

namespace plumb {

/// Of the probabilities of one attention sublayer (backend/ops/attention.h).
struct AttentionProbe {
  Tensor entropy_sums;  ///< (H) float64
  Tensor max_logit;     ///< (1) float64
};

/// Of the residual combine of one sublayer.
struct ResidualProbe {
  AlignmentView alignment;                ///< of stream and branch
  MomentsView step_scalar, step_feature;  ///< of the factors of b, a row per entry; none of a factor of 1
};

/// Of one norm.
struct NormProbe {
  MomentsView gain, bias;  ///< of the parameters as one row
  Tensor small_vectors;    ///< (1) float64: vectors whose variance is below 10 eps
  Tensor saturated;        ///< (1) float64: entries where DyT or Derf is flat
};

/// Of the gradient of one tensor of activations, over this rank's rows.
struct GradientProbe {
  Tensor square;              ///< (1) float64: sum of squares; empty = nothing is taken
  Tensor largest_row_square;  ///< (1) float64: that of the largest row
};

/// Of the entries of one tensor of activations; what costs a pass of its own.
struct ActivationProbe {
  Tensor magnitudes;  ///< (kMagnitudeBins) float64
  Tensor similarity;  ///< (kSimilaritySums) float64
};

/// K sublayers. Every view may be empty: then nothing is taken there. All are accumulated over micro-batches.
struct Probes {
  std::vector<MomentsView> stream;             ///< (K+1) the stream before sublayer k; [K] = the last one
  std::vector<MomentsView> branch;             ///< (K) z of sublayer k
  std::vector<GradientProbe> stream_gradient;  ///< (K+1) dL/dx_k
  std::vector<GradientProbe> branch_gradient;  ///< (K) dL/dz of sublayer k
  std::vector<ActivationProbe> stream_values;  ///< (K+1)
  std::vector<ActivationProbe> branch_values;  ///< (K)
  std::vector<AttentionProbe> attention;       ///< (K), read for attention sublayers only
  std::vector<Tensor> unit_maxima;      ///< (K) x (F) float64, read for FFN sublayers only: the largest
                                        ///< pre-activation of every hidden unit
  std::vector<ResidualProbe> residual;  ///< (K)
  std::vector<NormProbe> norms;         ///< in the order of ParameterStore::norms()
  Tensor loss_sums;                     ///< (kHeadLossSums) float64; never empty
};

}  // namespace plumb
