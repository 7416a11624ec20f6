#include "distributed/training_run.h"

#include "backend/loader.h"
#include "checkpointed_model.h"
#include "config/dump.h"
#include "core/parallel_for.h"

namespace plumb {

TrainingRun::TrainingRun(Session& session, const std::string& config,
                         const std::vector<std::string>& overrides,
                         const std::function<void(LanguageModelTask&)>& prepare)
    : session_(session),
      loaded_(load_config(session.read_config({config}), overrides, placement_presets())),
      task_(make_language_model_task(loaded_.config)) {
  if (prepare) prepare(task_);
  set_thread_count(loaded_.config.compute.threads);
  backend_ = make_backend(loaded_.config.device, {.local_rank = session.communicator().local_rank(),
                                                  .local_size = session.communicator().local_size()});
  loop_ = std::make_unique<TrainingLoop>(session_, loaded_, check_batch(loaded_, session.world()), task_,
                                         *backend_,
                                         resolve_compute_dtype(loaded_.config.compute.dtype, *backend_));
  loop_->start();
  const RunDirectoryOptions fresh;
  if (session.is_first()) open_run_directory(folder(), fresh, dump_config(loaded_), "{}\n");
}

void TrainingRun::train_to(std::int64_t steps) {
  const std::int64_t configured = loaded_.config.training.steps;
  loaded_.config.training.steps = steps;
  std::unique_ptr<RunLog> log;
  if (session_.is_first()) log = std::make_unique<RunLog>(folder(), loop_->log_settings());
  loop_->run(log.get(), folder());
  loaded_.config.training.steps = configured;
}

HostTensors TrainingRun::download(const std::vector<NamedTensor>& tensors) {
  return HostTensors(*backend_, loop_->engine().stream(), tensors);
}

}  // namespace plumb
