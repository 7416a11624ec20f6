// Placements: rows of data. A row sets model keys; the user's own keys win over it. Adding a placement is
// adding a row to placement.cpp (docs/design/block_equation.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

struct Placement {
  std::string_view name;
  std::string_view formula;   ///< of one sublayer, in the vocabulary of docs/design/block_equation.md
  std::string_view settings;  ///< TOML, keys relative to `model`
  std::string_view init;      ///< what the row prescribes, in words
  std::string_view citation;
};

const std::vector<Placement>& placements();
/// Null when there is no such row.
const Placement* find_placement(std::string_view name);
/// The row's settings, as config/load.h asks for them.
std::optional<std::string> placement_settings(const std::string& name);
std::vector<std::string> placement_names();

}  // namespace plumb
