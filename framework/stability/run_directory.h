// The run directory on disk: created, replaced, or taken up again at a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace plumb {

struct RunDirectoryOptions {
  /// An earlier run's files in the folder are removed (only those that a run writes, checkpoints included).
  bool overwrite = false;
  /// Only where the run goes on from a checkpoint of this very folder: the steps that the checkpoint holds.
  /// What the logs have beyond it, and a torn last line, is cut off, so that the log of an interrupted run
  /// becomes that of an uninterrupted one.
  std::optional<std::int64_t> resume_step{};
  /// A run that died before it logged a step or saved a checkpoint is no earlier run: it is started anew.
  bool restart_empty = false;
};

/// Makes the directory ready and writes config.toml and manifest.json; called by rank 0 only. InputError of
/// one line when it cannot be written to, when it holds an earlier run and neither option says what to do
/// with it, or when a log that is to be continued is damaged (a line that is not JSON before the last).
void open_run_directory(const std::filesystem::path& directory, const RunDirectoryOptions& options,
                        std::string_view config_toml, std::string_view manifest_json);

/// Cuts a JSON-lines file after the last complete record whose "step" is at most `step` (records without one
/// stay). Returns the last step left, or nothing when there is no such record. A missing file is left
/// missing.
std::optional<std::int64_t> truncate_log(const std::filesystem::path& file, std::int64_t step);

/// The same for every log of a run that goes back to `step` while it runs; only what lies beyond it is read.
/// What metrics.jsonl and events.jsonl have there is moved to the end of rolled_back.jsonl.
void roll_logs_back(const std::filesystem::path& directory, std::int64_t step);

}  // namespace plumb
