#include "config/load.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "config/nearest.h"
#include "config/override.h"
#include "config/schema.h"
#include "config/validate.h"
#include "core/error.h"

namespace plumb {
namespace {

constexpr const char* kOverrideKey = "model.override";
constexpr const char* kPlacementKey = "model.placement";

struct Setting {
  std::string key;
  TomlValue value;
  std::string origin;
};

struct Layer {
  std::vector<Setting> settings;
  std::vector<OverrideConfig> overrides;
};

/// The first key of a table of the schema; empty if there is no such table.
std::string first_key_of_table(const std::string& table) {
  for (const Field& field : config_fields()) {
    if (field.key.rfind(table + ".", 0) == 0) return field.key;
  }
  return "";
}

void read_overrides(const TomlValue& value, const std::string& source, Layer& layer) {
  const auto* list = std::get_if<TomlValue::List>(&value.data);
  if (list == nullptr) {
    layer.overrides.push_back(read_override(value, source));
    return;
  }
  for (const TomlValue& table : *list) layer.overrides.push_back(read_override(table, source));
}

/// Turns nested tables into settings with full keys. Keys without a field are refused here.
void flatten(const std::string& key, const TomlValue& value, const std::string& source, Layer& layer) {
  const std::string origin = origin_text(source, value.line);
  if (key == kOverrideKey) {
    read_overrides(value, source, layer);
    return;
  }
  if (find_field(key) != nullptr) {
    layer.settings.push_back({key, value, origin});
    return;
  }
  const std::string inside = first_key_of_table(key);
  const auto* table = std::get_if<TomlValue::Table>(&value.data);
  if (table == nullptr && !inside.empty()) {
    fail_input("{}: '{}' is a table of keys such as '{}', found {}", origin, key, inside, describe(value));
  }
  if (table == nullptr || (table->empty() && inside.empty())) fail_unknown_key(origin, key);
  for (const TomlEntry& entry : *table) flatten(key + "." + entry.key, entry.value, source, layer);
}

Layer layer_of_source(const ConfigSource& source) {
  Layer layer;
  for (const TomlEntry& entry : parse_toml(source.text, source.name)) {
    if (!source.left_out.empty() && entry.key == source.left_out) continue;
    if (entry.key == "sweep") {
      fail_input("{}: [sweep] describes many runs: start them with `plumb sweep`",
                 origin_text(source.name, entry.value.line));
    }
    flatten(entry.key, entry.value, source.name, layer);
  }
  return layer;
}

/// Lines inside a row mean nothing to a user, so that its origin is the placement's name alone.
void forget_lines(TomlValue& value) {
  value.line = 0;
  if (auto* table = std::get_if<TomlValue::Table>(&value.data)) {
    for (TomlEntry& entry : *table) forget_lines(entry.value);
  }
  if (auto* list = std::get_if<TomlValue::List>(&value.data)) {
    for (TomlValue& entry : *list) forget_lines(entry);
  }
}

Layer layer_of_placement(const std::string& placement, const PresetSettings& settings) {
  Layer layer;
  const std::string source = "placement " + placement;
  const auto read = [&](const std::string& text, const std::string& table) {
    for (TomlEntry& entry : parse_toml(text, source)) {
      forget_lines(entry.value);
      flatten(table + entry.key, entry.value, source, layer);
    }
  };
  read(settings.model, "model.");
  read(settings.companions, "");
  return layer;
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The value of an override: TOML where it is TOML, else the text itself.
TomlValue value_of_override(const std::string& key, const std::string& text) {
  std::optional<TomlValue> value = parse_toml_value(text);
  const Field* field = find_field(key);
  const bool wants_text = field != nullptr && type_text(*field) == "a string";
  const bool is_text = value && std::holds_alternative<std::string>(value->data);
  if (value && (is_text || !wants_text)) {
    forget_lines(*value);
    return *value;
  }
  if (!value && !text.empty() && std::string("\"'[{").find(text[0]) != std::string::npos) {
    fail_input("--set {}={}: the value is not valid TOML", key, text);
  }
  return {text, 0};
}

Layer layer_of_set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail_input("--set wants key=value, found '{}'", assignment);
  }
  Layer layer;
  const std::string key = trimmed(assignment.substr(0, equals));
  flatten(key, value_of_override(key, trimmed(assignment.substr(equals + 1))), "--set", layer);
  return layer;
}

void apply_settings(const Layer& layer, LoadedConfig& loaded) {
  for (const Setting& setting : layer.settings) {
    const Field& field = *find_field(setting.key);
    assign(field, field.member(loaded.config), setting.value, setting.origin);
    loaded.origins[setting.key] = setting.origin;
  }
}

bool same(const OverrideConfig& x, const OverrideConfig& y) {
  return x.blocks == y.blocks && x.fractions == y.fractions && x.every == y.every &&
         x.sublayer == y.sublayer && x.settings == y.settings;
}

/// Appends the layer's overrides, without a repetition of all that are there at its start: applying the same
/// changes twice in a row is applying them once.
void append_overrides(const Layer& layer, std::vector<OverrideConfig>& overrides) {
  auto first = layer.overrides.begin();
  const bool repeats = layer.overrides.size() >= overrides.size() &&
                       std::equal(overrides.begin(), overrides.end(), layer.overrides.begin(), same);
  if (repeats) first += static_cast<std::ptrdiff_t>(overrides.size());
  overrides.insert(overrides.end(), first, layer.overrides.end());
}

[[noreturn]] void fail_unknown_placement(const LoadedConfig& loaded, const PresetProvider& presets) {
  const std::vector<std::string> names = presets.names ? presets.names() : std::vector<std::string>{};
  const std::string& name = loaded.config.model.placement;
  fail_input("{}: unknown placement '{}'; did you mean '{}'? known: {}", loaded.origin(kPlacementKey), name,
             nearest_word(name, names), joined(names));
}

}  // namespace

std::string LoadedConfig::origin(const std::string& key) const {
  const auto found = origins.find(key);
  return found == origins.end() ? "default" : found->second;
}

std::vector<ConfigSource> read_sources(const std::vector<std::filesystem::path>& files) {
  std::vector<ConfigSource> sources;
  for (const std::filesystem::path& path : files) {
    if (std::filesystem::is_directory(path)) {
      fail_input("{}: cannot be read as a configuration: it is a folder", path.string());
    }
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    if (!stream) {
      fail_input("{}: cannot be read as a configuration: {}", path.string(),
                 errno != 0 ? std::strerror(errno) : "read error");
    }
    sources.push_back({path.string(), std::move(text)});
  }
  return sources;
}

LoadedConfig load_config(const std::vector<ConfigSource>& sources,
                         const std::vector<std::string>& set_overrides, const PresetProvider& presets) {
  std::vector<Layer> layers;
  for (const ConfigSource& source : sources) layers.push_back(layer_of_source(source));
  for (const std::string& assignment : set_overrides) layers.push_back(layer_of_set(assignment));

  // Any layer may name the placement, whose row comes before all of them: a first pass finds it.
  LoadedConfig first_pass;
  for (const Layer& layer : layers) apply_settings(layer, first_pass);
  const std::string placement = first_pass.config.model.placement;
  const std::optional<PresetSettings> row =
      presets.settings ? presets.settings(first_pass.config.model) : std::nullopt;
  if (!row) fail_unknown_placement(first_pass, presets);
  layers.insert(layers.begin(), layer_of_placement(placement, *row));

  LoadedConfig loaded;
  for (const Layer& layer : layers) {
    apply_settings(layer, loaded);
    append_overrides(layer, loaded.config.model.overrides);
  }
  validate(loaded);
  return loaded;
}

LoadedConfig load_config(const std::vector<std::filesystem::path>& files,
                         const std::vector<std::string>& set_overrides, const PresetProvider& presets) {
  return load_config(read_sources(files), set_overrides, presets);
}

}  // namespace plumb
