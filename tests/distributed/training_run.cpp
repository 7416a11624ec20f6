#include "distributed/training_run.h"

#include "backend/loader.h"
#include "checkpoint/checkpoint.h"
#include "checkpointed_model.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace plumb {

TrainingRun::TrainingRun(Session& session, const std::string& config,
                         const std::vector<std::string>& overrides,
                         const std::function<void(LanguageModelTask&)>& prepare, bool resumes)
    : session_(session),
      loaded_(load_config(session.read_config({config}), overrides, placement_presets())),
      task_(make_language_model_task(loaded_.config)) {
  if (prepare) prepare(task_);
  set_thread_count(loaded_.config.compute.threads);
  backend_ = make_backend(loaded_.config.device, {.local_rank = session.communicator().local_rank(),
                                                  .local_size = session.communicator().local_size(),
                                                  .communicator = &session.communicator()});
  if (!backend_->has_communicator()) session.choose_sum_path(sum_path(loaded_.config.communication));
  loop_ = std::make_unique<TrainingLoop>(session_, loaded_, check_batch(loaded_, session.world()), task_,
                                         *backend_,
                                         resolve_compute_dtype(loaded_.config.compute.dtype, *backend_));
  RunDirectoryOptions directory;
  if (resumes) {
    const auto checkpoint = load_latest_checkpoint(folder() / "checkpoints");
    PLUMB_CHECK(checkpoint, "'{}' has no checkpoint", folder().string());
    loop_->resume(*checkpoint);
    directory.resume_step = loop_->step();
  } else {
    loop_->start();
  }
  if (session.is_first()) open_run_directory(folder(), directory, dump_config(loaded_), "{}\n");
}

void TrainingRun::train_to(std::int64_t steps) {
  const std::int64_t configured = loaded_.config.training.steps;
  loaded_.config.training.steps = steps;
  std::unique_ptr<RunLog> log;
  if (session_.is_first()) log = std::make_unique<RunLog>(folder(), loop_->log_settings());
  const TrainingOutcome outcome = loop_->run(log.get(), folder());
  loaded_.config.training.steps = configured;
  if (!outcome.failure.empty()) fail("{}", outcome.failure);
}

HostTensors TrainingRun::download(const std::vector<NamedTensor>& tensors) {
  return HostTensors(*backend_, loop_->engine().stream(), tensors);
}

}  // namespace plumb
