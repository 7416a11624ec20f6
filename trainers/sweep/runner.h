// SweepRunner: trains the cells of a plan as child processes.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "sweep/child.h"
#include "sweep/plan.h"
#include "sweep/progress.h"

namespace plumb {

struct SweepOptionsOfRuns {
  std::string program;                ///< plumb itself
  std::vector<std::string> launcher;  ///< comes before it: mpirun and its options
  int jobs = 1;                       ///< runs at a time, each on an equal share of the cores
};

/// What became of a cell in this process.
struct CellOutcome {
  CellProgress progress;
  int status = 0;  ///< of the child, where it was run and not stopped
  double seconds = 0;

  bool failed() const { return status != 0; }
  /// "finished", "failed (status 2)", "begun", ...
  std::string text() const;
};

class SweepRunner {
 public:
  /// The references must outlive the runner.
  SweepRunner(const SweepPlan& plan, const SweepOptionsOfRuns& options, const PresetProvider& presets);

  /// Runs what is not finished. On SIGINT, SIGTERM or SIGUSR1 the children are asked to save a checkpoint and
  /// end; on a second one they are killed. Returns the signal that ended it, or 0. After every cell `changed`
  /// is called.
  int run(const std::function<void()>& changed);

  const std::vector<CellOutcome>& outcomes() const { return outcomes_; }
  std::vector<CellProgress> progress() const;

 private:
  struct Running {
    std::size_t cell = 0;
    int slot = 0;
    std::chrono::steady_clock::time_point started;
  };

  void start(std::size_t cell, int slot);
  void finish(const ChildEnd& end, bool was_stopped);
  std::vector<std::string> command_of(std::size_t cell) const;
  int free_slot() const;

  const SweepPlan& plan_;
  const SweepOptionsOfRuns& options_;
  const PresetProvider& presets_;
  std::vector<CellOutcome> outcomes_;
  std::vector<std::vector<int>> processors_;  ///< by slot
  std::map<pid_t, Running> running_;
};

/// The processors of `jobs` equal shares of the cores that this process may run on; with more jobs than
/// cores, jobs share cores. Empty lists with one job: all.
std::vector<std::vector<int>> processor_shares(int jobs);

}  // namespace plumb
