// What `plumb check` found, as text for terminals of 100 columns and as JSON.
#pragma once

#include <string>
#include <vector>

#include "initial_pass.h"
#include "nn/description/placement_description.h"
#include "theory/depth_prediction.h"
#include "theory/head_room.h"
#include "theory/step_table.h"
#include "theory/stream_bound.h"
#include "theory/verdict.h"

namespace plumb {

/// A row of the table over step sizes: predicted, and measured on one seed.
struct CheckedStep {
  StepRow row{};
  InitialPass pass{};
  Growth growth{};  ///< of pass.variance
};

/// The norm of one matrix from above and from below, to see what the bounds lose.
struct NormTightness {
  std::string matrix{};
  double bound = 0, estimate = 0;
};

struct CheckReport {
  std::string config{};  ///< files
  std::string backend{};
  DType compute = DType::Float32;
  std::vector<std::uint64_t> seeds{};
  std::int64_t sequences = 0;  ///< of the global batch
  bool ends_ramps = false;     ///< coefficients are scheduled over time and were taken at the end of it

  PlacementDescription description{};
  ResolvedModel model{};
  DepthPrediction prediction{};
  std::vector<InitialPass> passes{};  ///< one per seed
  InitialPass mean{};
  Growth growth{};  ///< of mean.variance
  std::vector<CheckedStep> steps{};
  StreamBound bound{};  ///< of the first seed's parameters and pass
  std::vector<BoundViolation> violations{};
  NormTightness tightness{};  ///< empty where no operator norm was needed
  HeadRoom fp16{}, bf16{}, own{};
  Judgement judgement{};
};

/// p = log2(Var_K / Var_{K/2}): mean and standard deviation over seeds.
struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};
MeanAndDeviation exponent_of(const CheckReport& report);
/// |dL/dx_0| / |dL/dx_K|, the geometric mean over seeds.
double gradient_ratio(const InitialPass& pass);

/// The numbers that rules read.
CheckFacts facts_of(const CheckReport& report);

std::string check_text(const CheckReport& report);
std::string check_json(const CheckReport& report);

}  // namespace plumb
