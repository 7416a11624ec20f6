#include "config/override.h"

#include "config/nearest.h"
#include "config/schema.h"
#include "core/error.h"

namespace plumb {
namespace {

/// Reads `blocks` and `sublayer` of a table with the schema's own type and range checks.
void read_range(const TomlEntry& entry, const std::string& origin, OverrideConfig& change) {
  if (entry.key == "blocks") {
    Field field;
    field.key = "model.override.blocks";
    field.member = [](Config& config) -> FieldPointer { return &config.model.base.residual.a.list; };
    assign(field, &change.blocks, entry.value, origin);
    if (change.blocks.size() != 2) {
      fail_input("{}: model.override.blocks wants [first, last], found {}", origin, toml_text(entry.value));
    }
    for (const TomlValue& bound : std::get<TomlValue::List>(entry.value.data)) {
      change.fractions |= std::holds_alternative<double>(bound.data);
    }
  } else if (entry.key == "every") {
    Field field;
    field.key = "model.override.every";
    field.member = [](Config& config) -> FieldPointer { return &config.model.blocks; };
    field.allowed = at_least(1);
    assign(field, &change.every, entry.value, origin);
  } else {
    Field field;
    field.key = "model.override.sublayer";
    field.member = [](Config& config) -> FieldPointer { return &config.device; };
    field.allowed = one_of({"all", "attention", "ffn", "linear"});
    assign(field, &change.sublayer, entry.value, origin);
  }
}

void read_setting(const std::string& key, const TomlValue& value, const std::string& origin,
                  OverrideConfig& change) {
  const Field* field = find_field("model." + key);
  if (field == nullptr || !field->sublayer_member) {
    std::vector<std::string> known = override_keys();
    known.insert(known.end(), {"blocks", "every", "sublayer"});
    const std::string nearest = nearest_word(key, known);
    if (field == nullptr || edit_distance(key, nearest) == 1) {
      fail_input("{}: unknown key '{}' in [[model.override]]; did you mean '{}'?", origin, key, nearest);
    }
    fail_input("{}: '{}' holds for the whole model and cannot be in [[model.override]]", origin, key);
  }
  SublayerConfig scratch;
  assign(*field, field->sublayer_member(scratch), value, origin);
  change.settings.emplace_back(key, toml_text(value));
}

void read_table(const TomlValue::Table& table, const std::string& prefix, const std::string& source,
                OverrideConfig& change) {
  for (const TomlEntry& entry : table) {
    const std::string key = prefix + entry.key;
    const std::string origin = origin_text(source, entry.value.line);
    const auto* inner = std::get_if<TomlValue::Table>(&entry.value.data);
    if (key == "blocks" || key == "every" || key == "sublayer") {
      read_range(entry, origin, change);
    } else if (inner != nullptr && find_field("model." + key) == nullptr) {
      read_table(*inner, key + ".", source, change);
    } else {
      read_setting(key, entry.value, origin, change);
    }
  }
}

}  // namespace

OverrideConfig read_override(const TomlValue& table, const std::string& source) {
  OverrideConfig change;
  change.origin = origin_text(source, table.line);
  const auto* entries = std::get_if<TomlValue::Table>(&table.data);
  if (entries == nullptr) {
    fail_input("{}: model.override wants tables ([[model.override]]), found {}", change.origin,
               describe(table));
  }
  read_table(*entries, "", source, change);
  if (change.settings.empty()) {
    fail_input(
        "{}: [[model.override]] sets nothing; allowed keys beside blocks, every and sublayer: norm.*, "
        "residual.*, gain.*, activation, qk_norm_extent, v_norm_extent, head_gains, branch_input, "
        "branch_biases",
        change.origin);
  }
  return change;
}

bool covers(const OverrideConfig& change, std::int64_t blocks, std::int64_t block, const std::string& kind) {
  if (change.sublayer != "all" && change.sublayer != kind) return false;
  if ((block + 1) % change.every != 0) return false;
  if (change.blocks.empty()) return true;
  const double first = change.blocks.at(0), last = change.blocks.at(1);
  if (!change.fractions) return first <= static_cast<double>(block) && static_cast<double>(block) <= last;
  const double middle = (static_cast<double>(block) + 0.5) / static_cast<double>(blocks);
  return first <= middle && middle < last;
}

std::string origin_text(const std::string& source, std::int64_t line) {
  return line > 0 ? fmt::format("{}:{}", source, line) : source;
}

void fail_unknown_key(const std::string& origin, const std::string& key) {
  std::vector<std::string> known = config_keys();
  known.push_back("model.override");
  fail_input("{}: unknown key '{}'; did you mean '{}'?", origin, key, nearest_word(key, known));
}

SublayerConfig resolved_sublayer(const ModelConfig& model, std::int64_t block, const std::string& kind) {
  SublayerConfig sublayer = model.base;
  for (const OverrideConfig& change : model.overrides) {
    if (!covers(change, model.blocks, block, kind)) continue;
    for (const auto& [key, text] : change.settings) {
      const Field* field = find_field("model." + key);
      if (field == nullptr || !field->sublayer_member) {
        fail_input("{}: '{}' cannot be in [[model.override]]", change.origin, key);
      }
      const std::optional<TomlValue> value = parse_toml_value(text);
      if (!value) fail_input("{}: {} = {} is not a TOML value", change.origin, key, text);
      assign(*field, field->sublayer_member(sublayer), *value, change.origin);
    }
  }
  return sublayer;
}

}  // namespace plumb
