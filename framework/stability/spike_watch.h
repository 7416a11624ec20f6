// SpikeWatch: both published rules over loss and gradient norm while a run goes on. It only looks; what is
// done about a spike is the trainer's.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "stability/spike_score.h"
#include "stability/step_record.h"
#include "stability/step_statistics.h"

namespace plumb {

/// What the rules say of one value.
struct SpikeFinding {
  double value = 0;
  double deviation = 0;     ///< of the StabilityMonitor's rule; NaN while that does not judge
  bool monitor = false;     ///< a spike by 6 sigma above 128 values
  bool olmo_score = false;  ///< a spike by 7 sigma of 1000 values
};

class SpikeWatch {
 public:
  SpikeWatch();

  struct Findings {
    SpikeFinding loss, gradient_norm;
  };
  /// Judges the step, takes it into the windows and writes the record's fields. Every rank has the same
  /// record and so finds the same. `judges_norm` false: the norm tells nothing (an overflow of fp16 that the
  /// loss scale deals with). A finite loss beside a norm that is not finite is not judged. No allocation.
  Findings observe(StepRecord& record, bool judges_norm);

  /// All that it knows, for a checkpoint: packed by the call; the views are of memory of this object. Write
  /// them, then state_restored(), to go on where they were taken.
  std::vector<StatisticsStateTensor> state_tensors();
  void state_restored();

 private:
  /// One rule over one series.
  struct Watch {
    SpikeRule rule;
    const char* name;
    SpikeDetector detector;
    std::vector<double> packed;
  };
  void unpack(Watch& watch);

  enum { kLossMonitor, kLossScore, kNormMonitor, kNormScore, kWatches };
  std::array<Watch, kWatches> watches_;
};

}  // namespace plumb
