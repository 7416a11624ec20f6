#include "config/dump.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/schema.h"
#include "core/error.h"

namespace plumb {
namespace {

std::string table_of(const std::string& key) {
  const std::size_t point = key.rfind('.');
  return point == std::string::npos ? "" : key.substr(0, point);
}

/// Names of sources may be any path; a comment ends at the line's end.
std::string comment(std::string origin) {
  std::replace_if(
      origin.begin(), origin.end(),
      [](char character) { return static_cast<unsigned char>(character) < 0x20; }, ' ');
  return "  # " + origin + "\n";
}

std::string range_text(const OverrideConfig& change) {
  TomlValue::List bounds;
  for (const double bound : change.blocks) {
    TomlValue value;
    if (change.fractions) {
      value.data = bound;
    } else {
      value.data = static_cast<std::int64_t>(bound);
    }
    bounds.push_back(value);
  }
  return toml_text({bounds, 0});
}

std::string override_text(const OverrideConfig& change) {
  std::string out = "\n[[model.override]]" + comment(change.origin);
  if (!change.blocks.empty()) out += fmt::format("blocks = {}\n", range_text(change));
  if (change.every != 1) out += fmt::format("every = {}\n", change.every);
  out += fmt::format("sublayer = {}\n", toml_text({change.sublayer, 0}));
  for (const auto& [key, value] : change.settings) out += fmt::format("{} = {}\n", key, value);
  return out;
}

}  // namespace

std::string dump_config(const LoadedConfig& loaded) {
  // Tables in the order in which they first occur; a table's keys need not be neighbours in the schema.
  std::vector<std::string> tables;
  for (const Field& field : config_fields()) {
    const std::string table = table_of(field.key);
    if (std::find(tables.begin(), tables.end(), table) == tables.end()) tables.push_back(table);
  }
  std::string out = "# Resolved configuration; after each value, where it came from.\n";
  for (const std::string& table : tables) {
    if (!table.empty()) out += fmt::format("\n[{}]\n", table);
    for (const Field& field : config_fields()) {
      if (table_of(field.key) != table) continue;
      const std::size_t start = table.empty() ? 0 : table.size() + 1;
      out += fmt::format("{} = {}", field.key.substr(start), toml_text(field_value(field, loaded.config)));
      out += comment(loaded.origin(field.key));
    }
  }
  for (const OverrideConfig& change : loaded.config.model.overrides) out += override_text(change);
  return out;
}

}  // namespace plumb
