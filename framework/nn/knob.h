// Knob: one coefficient of the block equation at one sublayer, from its configuration to what ops take.
#pragma once

#include <optional>
#include <string>

#include "config/model_config.h"
#include "nn/module.h"
#include "nn/random_sites.h"
#include "nn/residual_schedule.h"
#include "nn/step_values.h"

namespace plumb {

/// value * depth(k) * time(t), with a trainable factor starting at value * depth(k), with a Bernoulli factor
/// per sequence, or any product of these.
class Knob {
 public:
  /// `name` is the parameter's name if it is trainable ("blocks.0.ffn.b").
  Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position, std::int64_t width,
       RandomPurpose purpose, ParameterStore& store, StepValues& values);

  void plan(const ModelShape& shape, ArenaPlan& plan);
  /// Draws the Bernoulli factors of this pass (all 1 outside training); call before coefficient() is used.
  void draw(const Context& context) const;
  Coefficient coefficient(const Context& context) const;
  CoefficientGradient gradient() const;
  Parameter* parameter() const { return parameter_; }
  const KnobConfig& config() const { return config_; }
  /// True when it is the constant 0 (an absent e term) at every step.
  bool is_zero() const;
  /// True when it is the constant 1 at every step.
  bool is_one() const;

 private:
  KnobConfig config_;
  DepthPosition position_;
  RandomPurpose purpose_;
  std::string name_;
  const StepValues& values_;
  Parameter* parameter_ = nullptr;
  std::optional<int> step_value_;
  double keep_ = 1;
  Slot bernoulli_;
};

}  // namespace plumb
