#include "nn/knob.h"

namespace plumb {

Knob::Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position,
           std::int64_t width, RandomPurpose purpose, ParameterStore& store, StepValues& values)
    : config_(config),
      position_(position),
      purpose_(purpose),
      name_(name),
      values_(values),
      keep_(plumb::keep_probability(config, position)) {
  const double start = config.value * depth_factor(config, position);
  const bool varies = config.time != "constant";
  if (config.trainable != "none") {
    const std::int64_t entries = config.trainable == "vector" ? width : 1;
    parameter_ = store.declare(
        {.name = name, .shape = {entries}, .init = InitRule::constant(start), .weight_decay = config.decay});
    if (varies)
      step_value_ = values.add([config](std::int64_t step) { return time_factor(config, step); }, true);
  } else if (varies || start != 1) {
    step_value_ =
        values.add([config, start](std::int64_t step) { return start * time_factor(config, step); }, varies);
  }
}

void Knob::plan(const ModelShape& shape, ArenaPlan& plan) {
  if (keep_ < 1) bernoulli_ = plan.persistent(name_ + ".bernoulli", shape.master(), {shape.batch});
}

void Knob::draw(const Context& context) const {
  if (!bernoulli_.defined()) return;
  if (context.training) {
    const RandomSite site{context.seed, random_site(position_.sublayer, purpose_), context.counters};
    context.backend.random().bernoulli_per_sequence(context.stream,
                                                    {keep_, site, context.tensor(bernoulli_)});
  } else {
    context.backend.elementwise().fill(context.stream, context.tensor(bernoulli_), 1);
  }
}

Coefficient Knob::coefficient(const Context& context) const {
  Coefficient coefficient;
  if (step_value_) coefficient.scalar = values_.tensor(*step_value_);
  if (parameter_ != nullptr) coefficient.feature = parameter_->value;
  coefficient.sequence = context.tensor(bernoulli_);
  coefficient.stop_gradient = config_.stop_gradient;
  return coefficient;
}

CoefficientGradient Knob::gradient() const {
  return {parameter_ != nullptr && parameter_->trainable ? parameter_->gradient : Tensor()};
}

bool Knob::is_zero() const { return config_.trainable == "none" && config_.value == 0; }

bool Knob::is_one() const { return parameter_ == nullptr && !step_value_ && keep_ >= 1; }

}  // namespace plumb
