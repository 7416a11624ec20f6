// What is found out about a step that was not finite, and what is kept of it (docs/design/non_finite.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/sampler.h"
#include "nn/engine.h"
#include "session.h"
#include "stability/event_subject.h"
#include "stability/step_record.h"

namespace plumb {

/// The parts of a run that a step is made again from.
struct StepReplay {
  Session& session;
  Engine& engine;
  const Sampler& sampler;
  Tensor loss_sums;              ///< (kHeadLossSums) float64 on the device, clobbered
  std::filesystem::path folder;  ///< of the run
  bool updated_since = false;    ///< the step itself or a later one has changed the parameters
};

struct NonFiniteFinding {
  std::string text;      ///< one line for a person
  EventSubject subject;  ///< the ranks with bad results, and the micro-batch of the first one
};

/// True unless the step is only an overflow of fp16 gradients, which the loss scale deals with.
bool is_non_finite(const StepRecord& record, bool scales_loss);

/// Runs the step's forward and backward pass once more on every rank, looks at the result of every op, and
/// writes <folder>/nan/step_00000020.json (rank 0), and beside it in step_00000020/ the parameters (rank 0)
/// and the batch of every rank; step_00000020_2 where the run has met the step before. Gradients are
/// clobbered, nothing else changes. A disk that refuses is a line on the console. The same on every rank. A
/// collective.
NonFiniteFinding report_non_finite_step(const StepReplay& replay, const StepRecord& record);

}  // namespace plumb
