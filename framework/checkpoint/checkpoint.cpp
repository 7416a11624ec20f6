#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <string>
#include <utility>

#include "checkpoint/atomic_directory.h"
#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kManifestFile = "manifest.json";

CheckpointFile describe_file(const fs::path& folder, const char* name) {
  const MappedFile file(folder / name);
  return {name, file.bytes(), hash_bytes(file.data(), file.bytes())};
}

CheckpointManifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestFile;
  return manifest_from_json(read_whole_file(path), path);
}

/// The manifest, once it is readable, lists both tensor files, and the files have the sizes that it says.
CheckpointManifest check_sizes(const fs::path& folder) {
  if (!is_folder(folder)) fail_input("{}: there is no such checkpoint folder", folder.string());
  CheckpointManifest manifest = read_manifest(folder);
  for (const char* required : {kModelFile, kOptimizerFile}) {
    const bool listed = std::any_of(manifest.files.begin(), manifest.files.end(),
                                    [&](const CheckpointFile& file) { return file.name == required; });
    if (!listed) fail_input("{}: {} is not listed", (folder / kManifestFile).string(), required);
  }
  for (const CheckpointFile& file : manifest.files) {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(folder / file.name, error);
    if (error) fail_input("{}: {}", (folder / file.name).string(), error.message());
    if (bytes != file.bytes) {
      fail_input("{}: {} bytes, the manifest says {}; the file is damaged", (folder / file.name).string(),
                 bytes, file.bytes);
    }
  }
  return manifest;
}
}  // namespace

fs::path save_checkpoint(const fs::path& folder, CheckpointManifest manifest,
                         const std::vector<NamedTensor>& model, const std::vector<NamedTensor>& optimizer) {
  const fs::path target = folder / step_directory_name(manifest.step);
  if (manifest.config_hash.empty()) manifest.config_hash = hash_to_string(hash_text(manifest.config_text));

  AtomicDirectory directory(target);
  const fs::path& working = directory.working_path();
  write_safetensors(working / kModelFile, model,
                    {{"format", "plumb"}, {"step", std::to_string(manifest.step)}});
  write_safetensors(working / kOptimizerFile, optimizer, {{"step", std::to_string(manifest.step)}});
  manifest.files = {describe_file(working, kModelFile), describe_file(working, kOptimizerFile)};
  FileWriter manifest_file(working / kManifestFile);
  manifest_file.write(manifest_to_json(manifest));
  manifest_file.finish();
  directory.commit();
  return target;
}

CheckpointManifest verify_checkpoint(const fs::path& path) {
  CheckpointManifest manifest = check_sizes(path);
  for (const CheckpointFile& file : manifest.files) {
    const std::uint64_t hash = describe_file(path, file.name.c_str()).hash;
    if (hash != file.hash) {
      fail_input("{}: its content has hash {}, the manifest says {}; the file is damaged",
                 (path / file.name).string(), hash_to_string(hash), hash_to_string(file.hash));
    }
  }
  return manifest;
}

Checkpoint load_checkpoint(const fs::path& path) {
  CheckpointManifest manifest = verify_checkpoint(path);
  return {path, std::move(manifest), SafetensorsFile(path / kModelFile),
          SafetensorsFile(path / kOptimizerFile)};
}

std::optional<Checkpoint> load_latest_checkpoint(const fs::path& folder) {
  std::vector<StepDirectory> directories = list_step_directories(folder);
  std::reverse(directories.begin(), directories.end());
  for (const StepDirectory& directory : directories) {
    try {
      return load_checkpoint(directory.path);
    } catch (const InputError& error) {
      log_warning("passing over a damaged checkpoint: {}", error.what());
    }
  }
  return std::nullopt;
}

std::vector<fs::path> prune_checkpoints(const fs::path& folder, std::int64_t keep,
                                        std::optional<std::int64_t> saved_step) {
  PLUMB_CHECK(keep >= 1, "at least one checkpoint is kept, got {}", keep);
  std::vector<StepDirectory> directories = list_step_directories(folder);
  std::reverse(directories.begin(), directories.end());
  std::stable_partition(directories.begin(), directories.end(),
                        [&](const StepDirectory& directory) { return directory.step == saved_step; });
  std::vector<fs::path> removed;
  std::int64_t kept = 0;
  for (const StepDirectory& directory : directories) {
    if (kept == keep) {
      remove_atomically(directory.path);
      removed.push_back(directory.path);
      continue;
    }
    try {
      check_sizes(directory.path);
      ++kept;
    } catch (const InputError&) {
      // Left where it is: load_latest_checkpoint says what is wrong with it.
    }
  }
  return removed;
}

std::vector<fs::path> remove_checkpoints_beyond(const fs::path& folder, std::int64_t step) {
  std::vector<StepDirectory> directories = list_step_directories(folder);
  std::reverse(directories.begin(), directories.end());
  std::vector<fs::path> removed;
  for (const StepDirectory& directory : directories) {
    if (directory.step <= step) break;
    remove_atomically(directory.path);
    removed.push_back(directory.path);
  }
  return removed;
}

}  // namespace plumb
