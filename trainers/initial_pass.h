// One probed forward and backward pass at init, as the training loop runs it: what `plumb check` measures.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "config/load.h"
#include "lm_task.h"
#include "session.h"
#include "theory/ellipsoid.h"
#include "theory/host_parameters.h"
#include "theory/resolved_model.h"

namespace plumb {

/// Profiles over the stream before sublayer k = 0..K (K: after all) and over the K branches, over all rows of
/// the global batch.
struct InitialPass {
  double loss = 0;
  std::vector<double> variance, mean_abs, data_variance, max_abs, rms, max_row_norm;
  std::vector<double> gradient_norm;  ///< |dL/dx_k|
  std::vector<double> branch_rms;     ///< of z
  double similarity =
      0;  ///< mean cosine between the rows of x_0 of two tokens of a sequence, last micro-batch
  /// Mean cosine between 1/V - e_y of two tokens of a sequence, y their targets: that of dL/dx_K as long as
  /// logits are small.
  double gradient_similarity = 0;
  /// Norms on the un-gained row : every N_in and N_out of one stream, sampled rows.
  EllipsoidCheck ellipsoid{};
  std::int64_t ellipsoid_failures = 0;  ///< norms with a row that is off by more than rounding explains

  /// How many of these numbers are NaN or infinite.
  double not_finite() const;
};

/// A model under a configuration, from init on.
struct InitialModel {
  const LoadedConfig& loaded;
  const LanguageModelTask& task;
  Backend& backend;
  DType compute = DType::Float32;
};

/// Draws the parameters, runs one step and takes the profiles. In fp16 steps whose scaled gradients overflow
/// are repeated with a smaller loss scale, as training does. `parameters`, if given, gets the parameters
/// before the step.
InitialPass run_initial_pass(Session& session, const InitialModel& model, HostParameters* parameters);

/// Means over passes: geometric ones of what is positive by nature, else arithmetic; max_abs and
/// max_row_norm: the largest.
InitialPass mean_of(const std::vector<InitialPass>& passes);

}  // namespace plumb
