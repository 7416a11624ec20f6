// Placements: rows of data. A row sets model keys, and the keys its authors train it with; the user's own
// keys win over both. Adding a placement is adding a row to placement_rows.cpp and an entry to
// tests/golden/placements (docs/design/placements.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace plumb {

struct Placement {
  std::string_view name{};
  std::vector<std::string_view> aliases{};
  std::string_view formula{};     ///< of one sublayer, in the vocabulary of docs/design/block_equation.md
  std::string_view settings{};    ///< TOML, keys relative to `model`
  std::string_view companions{};  ///< TOML, whole keys
  std::string_view recipe{};      ///< what its authors train it with, in words; empty = not known
  std::string_view init{};        ///< what the row prescribes, in words
  std::string_view citation{};
  std::string_view certainty{};   ///< what was read, what is inferred
  std::string_view identities{};  ///< of docs/design/placements.md, that tests prove for it; may be empty
  std::string_view note{};        ///< what else its users should know; may be empty
  /// Settings that depend on model.placement_... keys and the depth; null = none.
  std::string (*more_settings)(const ModelConfig& model) = nullptr;
};

const std::vector<Placement>& placements();
/// By name or alias; null when there is no such row.
const Placement* find_placement(std::string_view name);
/// The settings of the row named model.placement, as config/load.h asks for them.
std::optional<PresetSettings> placement_settings(const ModelConfig& model);
/// Names and aliases.
std::vector<std::string> placement_names();

}  // namespace plumb
