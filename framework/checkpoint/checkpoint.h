// Checkpoints: <folder>/step_00001000/{model.safetensors, optimizer.safetensors, manifest.json}. Tensors are
// logical ones by name (unsharded, unpadded), so any number of ranks can read what any other number wrote.
// One process (rank 0) writes; every process may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace plumb {

/// A checkpoint that was read and found whole; the tensors are views into the mapped files.
struct Checkpoint {
  std::filesystem::path path;
  CheckpointManifest manifest;
  SafetensorsFile model;
  SafetensorsFile optimizer;
};

/// Writes step `manifest.step` under `folder` (created if need be) and returns its path. Until it is whole
/// and on the disk nothing of an older checkpoint is touched; one of the same step is replaced. Throws Error
/// when the system refuses (full disk, no permission); then everything older is as before.
std::filesystem::path save_checkpoint(const std::filesystem::path& folder, CheckpointManifest manifest,
                                      const std::vector<NamedTensor>& model,
                                      const std::vector<NamedTensor>& optimizer);

/// Throws InputError naming the file and what differs: missing, size, hash. Reads every byte.
CheckpointManifest verify_checkpoint(const std::filesystem::path& path);

/// Verifies and opens one checkpoint, given the path of its step folder.
Checkpoint load_checkpoint(const std::filesystem::path& path);

/// Verifies and opens the whole checkpoint with the highest step; nothing where there is none. Damaged or
/// unreadable ones are passed over with a warning each that says what is wrong; partial folders are never
/// looked at. Changes nothing on the disk.
std::optional<Checkpoint> load_latest_checkpoint(const std::filesystem::path& folder);

/// Keeps the newest `keep` (at least 1) checkpoints and removes what is older than all of them. A checkpoint
/// counts as kept when its manifest is readable and its files have their sizes, so a damaged one never
/// displaces a whole one. `saved_step`, the one just written, is never removed and is counted first. Returns
/// the removed paths.
std::vector<std::filesystem::path> prune_checkpoints(const std::filesystem::path& folder, std::int64_t keep,
                                                     std::optional<std::int64_t> saved_step = {});

/// Removes every checkpoint of a later step than `step`, whole or not, the latest first: a run that goes on
/// from `step` abandons them, and none of them may be taken for its future. Returns the removed paths.
std::vector<std::filesystem::path> remove_checkpoints_beyond(const std::filesystem::path& folder,
                                                             std::int64_t step);

}  // namespace plumb
