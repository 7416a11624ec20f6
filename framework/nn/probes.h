// Probes: where statistics are taken in one forward and backward pass. nn emits into these views; stability
// owns the memory behind them and knows what the numbers mean.
#pragma once

#include <vector>

#include "backend/ops/alignment.h"
#include "backend/ops/moments.h"
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
};

/// K sublayers. Every view may be empty: then nothing is taken there. All are accumulated over micro-batches.
struct Probes {
  std::vector<MomentsView> stream;  ///< (K+1) the stream before sublayer k; [K] = the last one
  std::vector<MomentsView> branch;  ///< (K) z of sublayer k
  std::vector<Tensor>
      stream_gradient_square;  ///< (K+1) x (1) float64: sum of (dL/dx_k)^2 over this rank's rows
  std::vector<Tensor> branch_gradient_square;  ///< (K) x (1) float64
  std::vector<AttentionProbe> attention;       ///< (K), read for attention sublayers only
  std::vector<ResidualProbe> residual;         ///< (K)
  std::vector<NormProbe> norms;                ///< in the order of ParameterStore::norms()
  Tensor loss_sums;                            ///< (kHeadLossSums) float64; never empty
};

}  // namespace plumb
