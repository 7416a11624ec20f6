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

/// What a knob is sized by.
struct KnobExtent {
  std::int64_t entries = 1;  ///< features that a trained vector has one number for
  std::int64_t width = 1;    ///< model.width
  ParameterRole role = ParameterRole::HiddenVector;
};

/// value * width^e * depth(k) * time(t), with a trainable factor that starts at all but the last, with a
/// Bernoulli factor per sequence, or any product of these. What is trained may be stored at another scale
/// (a fixed factor makes up the difference) and pass through a transform.
class Knob {
 public:
  /// `name` is the parameter's name if it is trainable ("blocks.0.ffn.b").
  Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position, KnobExtent extent,
       RandomPurpose purpose, ParameterStore& store, StepValues& values);
  /// A factor that draws nothing.
  Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position, KnobExtent extent,
       ParameterStore& store, StepValues& values)
      : Knob(config, name, position, extent, std::nullopt, store, values) {}

  void plan(const ModelShape& shape, ArenaPlan& plan);
  /// Draws the Bernoulli factors of this pass (all 1 outside training) and applies the transform; call before
  /// coefficient() is used.
  void begin(const Context& context) const;
  Coefficient coefficient(const Context& context) const;
  CoefficientGradient gradient(const Context& context) const;
  /// After backward has added to gradient(): takes it through the transform.
  void finish_gradient(const Context& context) const;
  /// Null when nothing is trained, or when an earlier sublayer of the block declared it (per_block).
  Parameter* parameter() const { return is_owner_ ? parameter_ : nullptr; }
  bool is_trained() const { return parameter_ != nullptr; }
  const KnobConfig& config() const { return config_; }
  /// The coefficient without its factor over time, where training starts.
  double start() const { return start_; }
  /// True when it is the constant 0 (an absent e term) at every step.
  bool is_zero() const;
  /// True when it is the constant 1 at every step.
  bool is_one() const;

 private:
  Knob(const KnobConfig& config, const std::string& name, const DepthPosition& position, KnobExtent extent,
       std::optional<RandomPurpose> purpose, ParameterStore& store, StepValues& values);
  bool is_mapped() const { return parameter_ != nullptr && config_.transform != "identity"; }
  CoefficientMapKind map_kind() const;

  KnobConfig config_;
  DepthPosition position_;
  std::optional<RandomPurpose> purpose_;
  std::string name_;
  const StepValues& values_;
  Parameter* parameter_ = nullptr;
  bool is_owner_ = true;
  std::optional<int> step_value_;
  double keep_ = 1, start_ = 1;
  Slot bernoulli_, mapped_, mapped_gradient_;
};

/// The coefficient of a configuration at step t where it is not trained, or where its training starts.
double knob_start(const KnobConfig& config, const DepthPosition& position, std::int64_t width);

/// What a trained knob multiplies its stored number by, after the transform and without the factor over time.
double knob_stored_factor(const KnobConfig& config, const DepthPosition& position, std::int64_t width);

/// The tensor of a trained knob: `name`, or the block's where it is shared by the block's sublayers.
std::string knob_parameter_name(const KnobConfig& config, const std::string& name,
                                const DepthPosition& position);

}  // namespace plumb
