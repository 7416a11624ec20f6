// CellProgress: how far the run of a cell has come, from its folder.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"
#include "sweep/plan.h"

namespace plumb {

enum class CellState {
  New,       ///< no step in its log, no checkpoint
  Begun,     ///< goes on from a checkpoint
  Lost,      ///< it has steps but no checkpoint to go on from: starts anew
  Finished,  ///< all steps are logged, and the last checkpoint is there where there is to be one
};
const char* name_of(CellState state);

struct CellProgress {
  CellState state = CellState::New;
  std::int64_t step = 0;       ///< last one in the log
  double initial_loss = 0;     ///< of step 1, before any update; NaN where there is none
  double training_loss = 0;    ///< mean over the last twentieth of the steps so far; NaN where there is none
  double validation_loss = 0;  ///< the last one; NaN where there is none
};

/// Changes nothing. InputError when the folder holds a run with other settings than the cell's, whose numbers
/// would be something else.
CellProgress read_progress(const SweepCell& cell, const PresetProvider& presets);

}  // namespace plumb
