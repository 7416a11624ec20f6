// The bound of the stream in a run under way, from what a record says of the norms: no parameter is read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "theory/stream_bound.h"

namespace plumb {

/// Of every norm of the model, in the order of its names; NaN where a norm trains no such thing.
struct NormSizes {
  std::span<const double> gain_max_abs, bias_mean, bias_std;
};

/// stream_bound() where N_out or N_post bounds what is added, step after step. Branches without N_out and
/// trained coefficients have none here. Nothing is allocated after construction.
class BoundWatch {
 public:
  /// norm_names: "blocks.0.ffn.norm_out", ..., the order of NormSizes. compute: for rounding_allowance().
  BoundWatch(const ModelConfig& config, const std::vector<std::string>& norm_names, DType compute);

  /// Level k = 0..K for rows that start with |x_0| <= start, at optimiser step `step` (counted from 0, for
  /// schedules over time) of training; NaN where none is proved. Valid until the next call.
  std::span<const double> bound(std::int64_t step, const NormSizes& sizes, double start);

  const ResolvedModel& model() const { return model_; }

 private:
  /// A sublayer's place among the norms; -1: no such norm.
  struct Places {
    std::int64_t out = -1, post = -1;
  };
  double size_of(std::int64_t place, const NormConfig& norm, const NormSizes& sizes) const;

  ResolvedModel model_;
  double allowance_;
  std::vector<Places> places_;
  std::vector<SublayerTerms> terms_;
  std::vector<double> bound_;
};

}  // namespace plumb
