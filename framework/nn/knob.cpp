#include "nn/knob.h"

#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

/// What the trained number itself starts from.
double stored_start(const KnobConfig& config, double start, std::int64_t width) {
  if (config.transform == "gpas") return 0;  // 1 - SiLU(0) = 1
  if (config.storage == "unit") return 1;
  if (config.storage == "1/sqrt(width)") return 1 / std::sqrt(static_cast<double>(width));
  return start;
}

/// The fixed factor between what is stored, after its transform, and the coefficient.
double stored_factor(const KnobConfig& config, double start, std::int64_t width) {
  if (config.transform == "gpas") return start;
  return config.storage == "value" ? 1 : start / stored_start(config, start, width);
}

/// "blocks.3.ffn.b" -> "blocks.3.b".
std::string name_in_block(const std::string& name, const DepthPosition& position) {
  return fmt::format("blocks.{}{}", position.block, name.substr(name.rfind('.')));
}

}  // namespace

double knob_stored_factor(const KnobConfig& config, const DepthPosition& position, std::int64_t width) {
  return stored_factor(config, knob_start(config, position, width), width);
}

std::string knob_parameter_name(const KnobConfig& config, const std::string& name,
                                const DepthPosition& position) {
  return config.per_block ? name_in_block(name, position) : name;
}

double knob_start(const KnobConfig& config, const DepthPosition& position, std::int64_t width) {
  return config.value * std::pow(static_cast<double>(width), config.width_exponent) *
         depth_factor(config, position);
}

Knob::Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position,
           KnobExtent extent, RandomPurpose purpose, ParameterStore& store, StepValues& values)
    : Knob(config, name, position, extent, std::optional<RandomPurpose>(purpose), store, values) {}

Knob::Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position,
           KnobExtent extent, std::optional<RandomPurpose> purpose, ParameterStore& store, StepValues& values)
    : config_(config),
      position_(position),
      purpose_(purpose),
      name_(name),
      values_(values),
      keep_(plumb::keep_probability(config, position)),
      start_(knob_start(config, position, extent.width)) {
  const double start = start_;
  const bool varies = config.time != "constant";
  double fixed = start;
  if (config.trainable != "none") {
    const std::int64_t entries = config.trainable == "vector" ? extent.entries : 1;
    fixed = stored_factor(config, start, extent.width);
    const std::string own_name = knob_parameter_name(config, name, position);
    // The first sublayer of a block is the last that backward comes to, so that it announces the gradient.
    parameter_ = config.per_block ? store.find(own_name) : nullptr;
    is_owner_ = parameter_ == nullptr;
    if (is_owner_) {
      parameter_ = store.declare({.name = own_name,
                                  .shape = {entries},
                                  .init = InitRule::constant(stored_start(config, start, extent.width)),
                                  .role = extent.role,
                                  .weight_decay = config.decay});
    }
  }
  if (!varies && fixed == 1) return;
  step_value_ = values.add(
      [config, position, fixed](std::int64_t step) { return fixed * time_factor(config, position, step); },
      varies);
}

void Knob::plan(const ModelShape& shape, ArenaPlan& plan) {
  PLUMB_CHECK(keep_ == 1 || purpose_, "'{}' draws nothing", name_);
  if (keep_ < 1) bernoulli_ = plan.persistent(name_ + ".bernoulli", shape.master(), {shape.batch});
  if (!is_mapped()) return;
  mapped_ = plan.persistent(name_ + ".mapped", shape.master(), parameter_->shape);
  mapped_gradient_ = plan.persistent(name_ + ".mapped_gradient", shape.master(), parameter_->shape);
}

CoefficientMapKind Knob::map_kind() const {
  return config_.transform == "gpas" ? CoefficientMapKind::OneMinusSilu : CoefficientMapKind::Absolute;
}

void Knob::begin(const Context& context) const {
  if (is_mapped()) {
    context.backend.parameter().coefficient_map_forward(
        context.stream, {.kind = map_kind(), .x = parameter_->value, .y = context.tensor(mapped_)});
    context.backend.elementwise().fill(context.stream, context.tensor(mapped_gradient_), 0);
  }
  if (!bernoulli_.defined()) return;
  if (context.training) {
    const RandomSite site{context.seed, random_site(position_.sublayer, *purpose_), context.counters};
    context.backend.random().bernoulli_per_sequence(context.stream,
                                                    {keep_, site, context.tensor(bernoulli_)});
  } else {
    context.backend.elementwise().fill(context.stream, context.tensor(bernoulli_), 1);
  }
}

Coefficient Knob::coefficient(const Context& context) const {
  Coefficient coefficient;
  if (step_value_) coefficient.scalar = values_.tensor(*step_value_);
  if (parameter_ != nullptr) coefficient.feature = is_mapped() ? context.tensor(mapped_) : parameter_->value;
  coefficient.sequence = context.tensor(bernoulli_);
  coefficient.stop_gradient = config_.stop_gradient;
  return coefficient;
}

CoefficientGradient Knob::gradient(const Context& context) const {
  if (parameter_ == nullptr || !parameter_->trainable) return {};
  return {is_mapped() ? context.tensor(mapped_gradient_) : parameter_->gradient};
}

void Knob::finish_gradient(const Context& context) const {
  if (!is_mapped() || !parameter_->trainable) return;
  context.backend.parameter().coefficient_map_backward(context.stream,
                                                       {.kind = map_kind(),
                                                        .x = parameter_->value,
                                                        .dy = context.tensor(mapped_gradient_),
                                                        .dx = parameter_->gradient});
}

bool Knob::is_zero() const { return config_.trainable == "none" && config_.value == 0; }

bool Knob::is_one() const { return parameter_ == nullptr && !step_value_ && keep_ >= 1; }

}  // namespace plumb
