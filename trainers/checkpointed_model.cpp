#include "checkpointed_model.h"

#include <algorithm>
#include <utility>

#include "backend/loader.h"
#include "backend_options.h"
#include "config/load.h"
#include "core/error.h"
#include "core/file.h"
#include "core/parallel_for.h"
#include "lm_task.h"
#include "model_state.h"
#include "session.h"

namespace plumb {

Checkpoint load_checkpoint_at(const std::filesystem::path& place) {
  std::error_code ignored;
  if (std::filesystem::exists(place / "manifest.json", ignored) &&
      std::filesystem::exists(place / "model.safetensors", ignored)) {
    return load_checkpoint(place);
  }
  for (const std::filesystem::path& folder : {place / "checkpoints", place}) {
    if (!is_folder(folder)) continue;
    if (auto latest = load_latest_checkpoint(folder)) return std::move(*latest);
  }
  fail_input(
      "{}: no checkpoint here; expected a folder with manifest.json and model.safetensors, or a run folder",
      place.string());
}

DType resolve_compute_dtype(const std::string& dtype, const Backend& backend, const std::string& subject) {
  const std::vector<DType> available = backend.compute_dtypes();
  if (dtype == "auto") return available.front();
  if (dtype == "tf32" && backend.has_tf32()) return DType::Float32;
  const auto found = std::find_if(available.begin(), available.end(),
                                  [&](DType candidate) { return name_of(candidate) == dtype; });
  if (found != available.end()) return *found;
  std::string list;
  for (DType candidate : available)
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name_of(candidate));
  fail_input("{} \"{}\", but the {} backend has {}", subject, dtype, backend.name(), list);
}

namespace {

/// What training ran in. "auto" took the backend's first choice, which the parameters' own dtype tells.
DType dtype_of_evaluation(const std::string& asked, const Config& config, const Checkpoint& checkpoint,
                          const Backend& backend) {
  if (!asked.empty()) return resolve_compute_dtype(asked, backend, "--dtype");
  const std::string trained = config.compute.dtype;
  return resolve_compute_dtype(
      trained == "auto" ? std::string(name_of(checkpoint.model.tensor("embedding.token").dtype)) : trained,
      backend, "give --dtype: training used");
}

}  // namespace

CheckpointedModel load_checkpointed_model(const std::string& place, const std::string& device,
                                          const std::string& dtype, std::int64_t batch, int threads) {
  CheckpointedModel model;
  const Checkpoint checkpoint = load_checkpoint_at(place);
  model.path = checkpoint.path;
  model.manifest = checkpoint.manifest;
  model.config = load_config(std::vector<ConfigSource>{{model.path.string() + "/manifest.json",
                                                        checkpoint.manifest.config_text}},
                             {}, placement_presets())
                     .config;
  set_thread_count(threads);
  BackendOptions options = backend_options(model.config.compute, Launch());
  // The choice was made for the device of the training.
  if (!chooses_attention(device)) options.attention = AttentionChoice::Auto;
  model.backend = make_backend(device, options);
  const DType compute = dtype_of_evaluation(dtype, model.config, checkpoint, *model.backend);
  const std::int64_t vocabulary = checkpoint.model.tensor("embedding.token").shape[0];
  model.engine = std::make_unique<Engine>(
      model.config.model, vocabulary,
      ModelShape{.batch = batch, .tokens = model.config.model.sequence_length, .compute = compute},
      model.config.training.seed, *model.backend);
  upload_tensors(*model.backend, model.engine->stream(), checkpoint.model,
                 parameter_tensors(model.engine->parameters()));
  model.engine->parameters().refresh_compute(model.engine->stream());
  model.engine->begin_step(model.manifest.step);
  return model;
}

}  // namespace plumb
