// SpikeGuard: what the configuration says is done about a step that stands out, once its record is there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/ops/step_guard.h"
#include "config/config.h"
#include "stability/spike_watch.h"

namespace plumb {

/// What the device is to do on its own, before the update.
GuardRules guard_rules(const SpikesConfig& spikes);

/// Judges records, which are the same on every rank, so that all ranks judge alike.
class SpikeGuard {
 public:
  /// scales_loss: gradient norms may overflow for want of a smaller loss scale, which is no spike.
  SpikeGuard(const SpikesConfig& spikes, bool scales_loss) : spikes_(spikes), scales_loss_(scales_loss) {}

  struct Verdict {
    bool roll_back = false;
    std::string spike;  ///< what stands out in the step, one line; empty: nothing
  };
  /// Once for every step, in order. Lives until the next call; allocates only where there is a spike.
  const Verdict& judge(StepRecord& record);
  const Verdict& verdict() const { return verdict_; }

  std::vector<StatisticsStateTensor> state_tensors() { return watch_.state_tensors(); }
  void state_restored() { watch_.state_restored(); }

 private:
  SpikesConfig spikes_;
  bool scales_loss_;
  SpikeWatch watch_;
  Verdict verdict_;
};

/// Why a step updated nothing, one line.
std::string skip_reason(const StepRecord& record);

}  // namespace plumb
