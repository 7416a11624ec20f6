#include "theory/bound_watch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/knob.h"

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// The largest value of a coefficient that is not trained, Bernoulli factors included; NaN for one that is.
double size_of_knob(const KnobConfig& knob, const DepthPosition& position, std::int64_t width,
                    std::int64_t step) {
  if (knob.trainable != "none") return kNaN;
  const double value = knob_start(knob, position, width) * time_factor(knob, position, step);
  return std::abs(value) / keep_probability(knob, position);
}

CoefficientSizes scheduled_sizes(const ResolvedSublayer& sublayer, std::int64_t width, std::int64_t step) {
  const SublayerKnobs& knobs = sublayer.config.residual;
  const auto size = [&](const KnobConfig& knob) {
    return size_of_knob(knob, sublayer.position, width, step);
  };
  CoefficientSizes sizes{
      .a = size(knobs.a), .b = size(knobs.b), .c = 1, .e = size(knobs.e), .p = size(knobs.p)};
  if (knobs.a.tie_to_branch) {
    const double b = knobs.b.trainable != "none" ? kNaN
                                                 : knob_start(knobs.b, sublayer.position, width) *
                                                       time_factor(knobs.b, sublayer.position, step);
    const double kept = 1 / keep_probability(knobs.b, sublayer.position);
    sizes.a = std::abs(1 - kept * b);
    if (kept > 1) sizes.a = std::max(sizes.a, 1.0);
  }
  return sizes;
}

}  // namespace

BoundWatch::BoundWatch(const ModelConfig& config, const std::vector<std::string>& norm_names, DType compute)
    : model_(resolve_model(config)),
      allowance_(rounding_allowance(compute)),
      terms_(model_.sublayers.size()),
      bound_(model_.sublayers.size() + 1, kNaN) {
  const auto place = [&](const std::string& name) {
    const auto found = std::find(norm_names.begin(), norm_names.end(), name);
    return found == norm_names.end() ? -1 : found - norm_names.begin();
  };
  for (const ResolvedSublayer& sublayer : model_.sublayers) {
    places_.push_back({place(sublayer.name + ".norm_out"), place(sublayer.name + ".norm_post")});
  }
}

double BoundWatch::size_of(std::int64_t place, const NormConfig& norm, const NormSizes& sizes) const {
  const double gain = sizes.gain_max_abs[index(place)];
  const double mean = sizes.bias_mean[index(place)], deviation = sizes.bias_std[index(place)];
  const double root = std::sqrt(static_cast<double>(model_.width()));
  const double bias = std::isnan(mean) ? 0 : root * std::hypot(mean, deviation);
  // Of dyt and derf the tighter | |g| + |beta| | is at most |g| + |beta|, and |g| <= sqrt(d) max|g|.
  const bool unit = norm_kind_of(norm, model_.config) == NormKind::L2;
  return (unit ? 1 : root) * (norm.gain ? gain : 1) + bias;
}

std::span<const double> BoundWatch::bound(std::int64_t step, const NormSizes& sizes, double start) {
  bound_[0] = start;
  const bool single = model_.config.streams.kind == "single";
  const double dropout = 1 / (1 - model_.config.dropout_branch);
  for (std::size_t k = 0; k < model_.sublayers.size(); ++k) {
    const ResolvedSublayer& sublayer = model_.sublayers[k];
    SublayerTerms& terms = terms_[k];
    terms.sizes = scheduled_sizes(sublayer, model_.width(), step);
    const Places& place = places_[k];
    const SublayerNorms& norms = sublayer.config.norm;
    if (place.out >= 0) terms.out = size_of(place.out, norms.out, sizes);
    if (place.post >= 0) terms.post = size_of(place.post, norms.post, sizes);
    const double next =
        next_level(terms, bound_[k], bound_[index(sublayer.block_start)], dropout * terms.out.value_or(kNaN));
    bound_[k + 1] = single ? (1 + allowance_) * next : kNaN;
  }
  return bound_;
}

}  // namespace plumb
