#include "config/changes.h"

#include <algorithm>
#include <utility>

#include "config/schema.h"
#include "core/error.h"

namespace plumb {
namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

std::string covered_text(const OverrideConfig& change) {
  std::string out = change.sublayer == "all" ? "all sublayers" : change.sublayer + " sublayers";
  if (change.every != 1) out += fmt::format(" of every {} blocks", change.every);
  if (change.blocks.empty()) return out;
  return out + fmt::format(" of {} {} to {}", change.fractions ? "depth" : "blocks", change.blocks.at(0),
                           change.blocks.at(1));
}

/// Every setting as (key, value) in the schema's order, then the overrides'.
Settings settings_of(const Config& config) {
  Settings settings;
  for (const Field& field : config_fields()) {
    if (shapes_numbers(field.key)) settings.emplace_back(field.key, toml_text(field_value(field, config)));
  }
  for (std::size_t i = 0; i < config.model.overrides.size(); ++i) {
    const std::string place = fmt::format("model.override[{}]", i);
    settings.emplace_back(place, covered_text(config.model.overrides[i]));
    for (const auto& [key, value] : config.model.overrides[i].settings)
      settings.emplace_back(place + "." + key, value);
  }
  return settings;
}

const std::string* find_value(const Settings& settings, const std::string& key) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const auto& setting) { return setting.first == key; });
  return found == settings.end() ? nullptr : &found->second;
}

}  // namespace

std::vector<std::string> changed_settings(const Config& before, const Config& after) {
  const Settings old_settings = settings_of(before), new_settings = settings_of(after);
  std::vector<std::string> changes;
  for (const auto& [key, value] : new_settings) {
    const std::string* old_value = find_value(old_settings, key);
    if (old_value != nullptr && *old_value == value) continue;
    changes.push_back(fmt::format("{}: {} -> {}", key, old_value != nullptr ? *old_value : "not set", value));
  }
  for (const auto& [key, value] : old_settings) {
    if (find_value(new_settings, key) == nullptr)
      changes.push_back(fmt::format("{}: {} -> not set", key, value));
  }
  return changes;
}

}  // namespace plumb
