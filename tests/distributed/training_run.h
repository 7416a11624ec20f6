// TrainingRun: one rank of a run from inside, for programs that look at it or spoil it between steps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/load.h"
#include "lm_task.h"
#include "model_state.h"
#include "session.h"
#include "training_loop.h"

namespace plumb {

/// Everything that `plumb train` makes before the first step. Rank 0 writes the logs to run.dir.
class TrainingRun {
 public:
  /// `prepare`, where given, may change the task before anything is built on it. `resumes`: goes on from the
  /// last checkpoint in run.dir.
  TrainingRun(Session& session, const std::string& config, const std::vector<std::string>& overrides,
              const std::function<void(LanguageModelTask&)>& prepare = {}, bool resumes = false);

  TrainingLoop& loop() { return *loop_; }
  Backend& backend() { return *backend_; }
  const Config& config() const { return loaded_.config; }
  std::int64_t steps() const { return loaded_.config.training.steps; }

  /// Trains until so many steps are done; the schedules are those of the whole run. Error where that fails.
  void train_to(std::int64_t steps);
  HostTensors download(const std::vector<NamedTensor>& tensors);

 private:
  std::filesystem::path folder() const { return loaded_.config.run.dir; }

  Session& session_;
  LoadedConfig loaded_;
  LanguageModelTask task_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<TrainingLoop> loop_;
};

}  // namespace plumb
