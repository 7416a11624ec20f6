// Loading a configuration. Layers, each winning over those before it: defaults, the placement's row, files in
// the order given, --set overrides.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/error.h"

namespace plumb {

/// Text of a configuration and what messages call it, e.g. its path. Ranks other than 0 get theirs by
/// broadcast.
struct ConfigSource {
  std::string name;
  std::string text;
  /// A top-level table that is somebody else's to read: "sweep" for `plumb sweep`.
  std::string left_out = {};
};

/// What a placement sets, as TOML text.
struct PresetSettings {
  std::string model;       ///< keys relative to `model`
  std::string companions;  ///< other keys, whole: what its authors train it with
};

/// Where placements come from: {placement_settings, placement_names} of nn/placement.h.
struct PresetProvider {
  /// The row of model.placement (with its placement_... keys), or nothing for an unknown name.
  std::function<std::optional<PresetSettings>(const ModelConfig& model)> settings;
  std::function<std::vector<std::string>()> names;
};

struct LoadedConfig {
  Config config;
  /// By key, for keys that are not at their default: "placement peri", "file.toml:12" or "--set".
  std::map<std::string, std::string> origins;
  /// Valid settings that a user hardly wants; one line each.
  std::vector<std::string> warnings;

  /// "default" for a key that nothing has set.
  std::string origin(const std::string& key) const;
};

/// Reads whole files. Throws InputError naming the first one that cannot be read.
std::vector<ConfigSource> read_sources(const std::vector<std::filesystem::path>& files);

/// Loads and validates (validate.h). Each of `set_overrides` is "a.b.c=value" with the value in TOML syntax;
/// a value that is no TOML value is a string. Override tables add up over the layers; where a layer repeats
/// those of the placement's row at its start, as a saved configuration does, they are taken once. Throws
/// InputError of one line: "<origin>: <fault>", with the nearest valid key or the allowed values.
LoadedConfig load_config(const std::vector<ConfigSource>& sources,
                         const std::vector<std::string>& set_overrides, const PresetProvider& presets);
LoadedConfig load_config(const std::vector<std::filesystem::path>& files,
                         const std::vector<std::string>& set_overrides, const PresetProvider& presets);

}  // namespace plumb
