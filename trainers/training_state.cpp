// TrainingLoop: its state in checkpoints.
#include <fmt/format.h>

#include <cstring>

#include "checkpoint/checkpoint.h"
#include "config/dump.h"
#include "config/schema.h"
#include "core/error.h"
#include "model_state.h"
#include "optimizer_state.h"
#include "training_loop.h"
#include "version.h"

namespace plumb {
namespace {

/// 0 in the checkpoints of a program that did not count this yet.
std::int64_t count_in(const CheckpointManifest& manifest, const char* name) {
  const auto found = manifest.extra.find(name);
  return found == manifest.extra.end() ? 0 : std::stoll(found->second);
}

}  // namespace

void TrainingLoop::save(RunLog* log) {
  if (saved_step_ == step_) return;
  const PhaseRange range(engine_.backend(), "checkpoint");
  saved_step_ = step_;
  statistics_.unify_state();
  if (log != nullptr) log->flush();
  const WholeOptimizerState optimizer(optimizer_, engine_.parameters(), engine_.backend(), engine_.stream(),
                                      session_);
  if (session_.is_first()) {
    const HostTensors model(engine_.backend(), engine_.stream(), parameter_tensors(engine_.parameters()));
    std::vector<NamedTensor> optimizer_and_statistics = optimizer.list();
    for (const StatisticsStateTensor& tensor : statistics_.state_tensors()) {
      optimizer_and_statistics.push_back({"statistics/" + tensor.name, tensor.tensor});
    }
    for (const NamedTensor& tensor : rank_alarms_.state_tensors()) optimizer_and_statistics.push_back(tensor);
    for (const StatisticsStateTensor& tensor : spike_guard_.state_tensors())
      optimizer_and_statistics.push_back({tensor.name, tensor.tensor});
    CheckpointManifest manifest;
    manifest.step = step_;
    manifest.data_cursor = data_cursor_;
    manifest.seed = config_.training.seed;
    manifest.world = session_.world();
    manifest.config_text = dump_config(loaded_);
    manifest.config_hash = config_hash(config_);
    manifest.plumb_version = version_number();
    manifest.extra["git_revision"] = git_revision();
    manifest.extra["roll_backs"] = std::to_string(roll_backs_);
    manifest.extra["non_finite_reports"] = std::to_string(non_finite_reports_);
    const auto path =
        save_checkpoint(folder_ / "checkpoints", manifest, model.list(), optimizer_and_statistics);
    prune_checkpoints(folder_ / "checkpoints", config_.checkpoint.keep, step_);
    if (log != nullptr) log->event("checkpoint", step_, path.filename().string());
  }
  session_.communicator().barrier("checkpoint saved");
}

std::size_t TrainingLoop::checkpoint_bytes() const {
  std::size_t bytes = 0;
  for (const NamedTensor& named : parameter_tensors(engine_.parameters())) bytes += named.tensor.bytes();
  for (const OptimizerStateTensor& state : optimizer_.state_tensors()) {
    bytes += state.sharded ? static_cast<std::size_t>(state.whole.elements()) * size_of(state.tensor.dtype)
                           : state.tensor.bytes();
  }
  return bytes;
}

void TrainingLoop::resume(const Checkpoint& checkpoint) {
  Backend& backend = engine_.backend();
  Stream& stream = engine_.stream();
  upload_tensors(backend, stream, checkpoint.model, parameter_tensors(engine_.parameters()));
  engine_.parameters().refresh_compute(stream);
  upload_optimizer_state(backend, stream, checkpoint.optimizer, optimizer_);
  for (const StatisticsStateTensor& tensor : statistics_.state_tensors()) {
    const Tensor source = checkpoint.optimizer.tensor("statistics/" + tensor.name, tensor.tensor.shape);
    std::memcpy(tensor.tensor.data, source.data, source.bytes());
  }
  statistics_.state_restored(stream);
  // Other ranks than those of the checkpoint begin with what is known of them: nothing.
  if (checkpoint.manifest.world == session_.world()) {
    for (const NamedTensor& tensor : rank_alarms_.state_tensors()) {
      const Tensor source = checkpoint.optimizer.tensor(tensor.name, tensor.tensor.shape);
      std::memcpy(tensor.tensor.data, source.data, source.bytes());
    }
  }
  for (const StatisticsStateTensor& tensor : spike_guard_.state_tensors()) {
    if (!checkpoint.optimizer.contains(tensor.name)) continue;  // of a run before there were such windows
    const Tensor source = checkpoint.optimizer.tensor(tensor.name, tensor.tensor.shape);
    std::memcpy(tensor.tensor.data, source.data, source.bytes());
  }
  spike_guard_.state_restored();
  roll_backs_ = count_in(checkpoint.manifest, "roll_backs");
  non_finite_reports_ = count_in(checkpoint.manifest, "non_finite_reports");
  step_ = checkpoint.manifest.step;
  data_cursor_ = checkpoint.manifest.data_cursor;
  saved_step_ = step_;
}

}  // namespace plumb
