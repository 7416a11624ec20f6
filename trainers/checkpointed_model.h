// A model from a checkpoint, ready for forward passes: for eval and generate.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "core/error.h"
#include "nn/engine.h"

namespace plumb {

struct CheckpointedModel {
  std::filesystem::path path;
  CheckpointManifest manifest;
  Config config;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Engine> engine;
};

/// `place` is a checkpoint's folder, a run's folder or its checkpoints/ folder (then the newest whole one is
/// taken). `batch` sequences per pass. The model runs on `device` ("auto" = the best here) in the compute
/// dtype `dtype`; "" = the one it was trained in, "auto" = the device's first choice. InputError when the
/// device does not have it: a loss in another dtype than asked for is another number.
CheckpointedModel load_checkpointed_model(const std::string& place, const std::string& device,
                                          const std::string& dtype, std::int64_t batch, int threads);

/// The checkpoint that `place` means, see above. InputError when there is none, or when it is damaged.
Checkpoint load_checkpoint_at(const std::filesystem::path& place);

/// The configuration's compute dtype on this backend: "auto" = the backend's first choice. InputError when
/// the backend does not have what is asked for; it begins with `subject`, which says where that was asked.
DType resolve_compute_dtype(const std::string& dtype, const Backend& backend,
                            const std::string& subject = "compute.dtype =");

}  // namespace plumb
