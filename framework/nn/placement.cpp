#include "nn/placement.h"

#include <algorithm>

namespace plumb {

const Placement* find_placement(std::string_view name) {
  for (const Placement& row : placements()) {
    if (row.name == name) return &row;
    if (std::find(row.aliases.begin(), row.aliases.end(), name) != row.aliases.end()) return &row;
  }
  return nullptr;
}

std::optional<PresetSettings> placement_settings(const ModelConfig& model) {
  const Placement* row = find_placement(model.placement);
  if (row == nullptr) return std::nullopt;
  PresetSettings settings{std::string(row->settings), std::string(row->companions)};
  if (row->more_settings != nullptr) settings.model += row->more_settings(model);
  return settings;
}

std::vector<std::string> placement_names() {
  std::vector<std::string> names;
  for (const Placement& row : placements()) {
    names.emplace_back(row.name);
    for (std::string_view alias : row.aliases) names.emplace_back(alias);
  }
  return names;
}

}  // namespace plumb
