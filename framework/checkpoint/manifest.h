// manifest.json of a checkpoint: what was saved, and the size and hash of every file beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace plumb {

/// One file of a checkpoint.
struct CheckpointFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t hash = 0;  ///< XXH3 of the whole file
  bool operator==(const CheckpointFile&) const = default;
};

struct CheckpointManifest {
  static constexpr int kFormat = 1;

  int format = kFormat;
  std::int64_t step = 0;          ///< optimiser steps done: the next one to run
  std::uint64_t data_cursor = 0;  ///< sequences of the data order that have been used
  std::uint64_t seed = 0;         ///< with step: the whole state of the counter-based random numbers
  int world = 1;                  ///< ranks that wrote it; any number may read it
  std::string config_text;        ///< the resolved configuration, TOML
  std::string config_hash;  ///< empty when given to save_checkpoint: the hash of config_text is filled in
  std::string plumb_version;
  std::map<std::string, std::string> extra;  ///< whatever else the trainer must have back
  std::vector<CheckpointFile> files;         ///< filled in by save_checkpoint
  bool operator==(const CheckpointManifest&) const = default;
};

/// The JSON text; it holds a hash of itself, so that a flipped bit in it is noticed.
std::string manifest_to_json(const CheckpointManifest& manifest);
/// Throws InputError naming `file` and what is wrong: no JSON, a missing or ill-typed key, a newer format, a
/// hash that differs.
CheckpointManifest manifest_from_json(const std::string& text, const std::filesystem::path& file);

}  // namespace plumb
