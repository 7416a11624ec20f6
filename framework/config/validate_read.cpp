// Keys that are set although nothing reads them.
#include <algorithm>
#include <optional>
#include <utility>

#include "config/override.h"
#include "config/schema.h"
#include "config/validate.h"
#include "core/error.h"

namespace plumb {
namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The value that a text or boolean has in a sublayer; `sublayer` is null for that of the whole model.
TomlValue value_in(const Field& field, const Config& config, SublayerConfig* sublayer) {
  if (sublayer == nullptr || !field.sublayer_member) return field_value(field, config);
  const FieldPointer member = field.sublayer_member(*sublayer);
  if (const auto* const* boolean = std::get_if<bool*>(&member)) return {**boolean, 0};
  return {*std::get<std::string*>(member), 0};
}

/// Whether the value is the kind of a norm slot that means model.norm_kind.
bool is_standard(const TomlValue& value) {
  const auto* text = std::get_if<std::string>(&value.data);
  return text != nullptr && *text == "standard";
}

bool holds(const Condition& condition, const Config& config, SublayerConfig* sublayer) {
  const Field& field = *find_field(condition.key);
  const TomlValue value = value_in(field, config, sublayer);
  if (condition.values.empty()) return toml_text(value) != toml_text(field_default(field));
  if (is_standard(value)) return has(condition.values, config.model.norm_kind);
  if (const auto* text = std::get_if<std::string>(&value.data)) return has(condition.values, *text);
  if (const auto* list = std::get_if<TomlValue::List>(&value.data)) {
    return std::any_of(list->begin(), list->end(), [&](const TomlValue& entry) {
      return has(condition.values, std::get<std::string>(entry.data));
    });
  }
  return has(condition.values, toml_text(value));
}

/// Null if all hold.
const Condition* first_unmet(const ReadWhen& conditions, const Config& config, SublayerConfig* sublayer) {
  for (const Condition& condition : conditions) {
    if (!holds(condition, config, sublayer)) return &condition;
  }
  return nullptr;
}

/// Where a field is looked for: the sublayers that `change` covers, all of them where it is null.
struct Search {
  const Field& field;
  const Config& config;
  const OverrideConfig* change = nullptr;

  /// Nothing where some sublayer reads the field, else a condition that does not hold.
  std::optional<Condition> obstacle() const {
    const ModelConfig& model = config.model;
    if (!field.sublayer_member) return as_optional(first_unmet(field.read_when, config, nullptr));
    std::optional<Condition> found;
    for (std::int64_t block = 0; block < model.blocks; ++block) {
      for (const std::string& kind : model.block) {
        if (change != nullptr && !covers(*change, model.blocks, block, kind)) continue;
        if (!field.acts_in.empty() && field.acts_in != kind) continue;
        SublayerConfig sublayer = resolved_sublayer(model, block, kind);
        found = as_optional(first_unmet(field.read_when, config, &sublayer));
        if (!found) return found;
      }
      if (model.overrides.empty()) break;
    }
    // No sublayer of its kind at all.
    if (!found) found = Condition{"model.block", {field.acts_in}};
    return found;
  }

 private:
  static std::optional<Condition> as_optional(const Condition* condition) {
    return condition == nullptr ? std::nullopt : std::optional<Condition>(*condition);
  }
};

/// "\"a\" or \"b\"", "true", "another value".
std::string needs_text(const Condition& condition) {
  if (condition.values.empty()) return "another value";
  const bool quoted = type_text(*find_field(condition.key)) != "true or false";
  std::string out;
  for (const std::string& name : condition.values) {
    out += out.empty() ? "" : " or ";
    out += quoted ? '"' + name + '"' : name;
  }
  return out;
}

/// "model.norm.in.kind = \"standard\" (model.norm_kind = \"layernorm\")", as the whole model has it.
std::string found_text(const Condition& condition, const Config& config) {
  const TomlValue value = field_value(*find_field(condition.key), config);
  const std::string text = fmt::format("{} = {}", condition.key, toml_text(value));
  return is_standard(value) ? fmt::format("{} (model.norm_kind = \"{}\")", text, config.model.norm_kind)
                            : text;
}

void check_override(const OverrideConfig& change, const Config& config) {
  for (const auto& setting : change.settings) {
    const Field& field = *find_field("model." + setting.first);
    if (!field.acts_in.empty() && change.sublayer != "all" && change.sublayer != field.acts_in) {
      fail_input("{}: {} acts in {} sublayers, but this [[model.override]] is for {}", change.origin,
                 field.key, field.acts_in, change.sublayer);
    }
    const std::optional<Condition> obstacle = Search{field, config, &change}.obstacle();
    if (!obstacle) continue;
    fail_input("{}: {} is set in [[model.override]] but not read there: it needs {} = {}", change.origin,
               field.key, obstacle->key, needs_text(*obstacle));
  }
}

void check_key(const Field& field, const LoadedConfig& loaded) {
  const TomlValue value = field_value(field, loaded.config);
  if (toml_text(value) == toml_text(field_default(field))) return;
  const std::optional<Condition> obstacle = Search{field, loaded.config}.obstacle();
  if (!obstacle) return;
  // Where the condition holds for the whole model, overrides are what keeps the key from being read.
  const std::string reason =
      holds(*obstacle, loaded.config, nullptr)
          ? fmt::format("the [[model.override]] tables change {} in every sublayer", obstacle->key)
          : found_text(*obstacle, loaded.config);
  fail_input("{}: {} = {} is not read, because {}; it needs {}", loaded.origin(field.key), field.key,
             toml_text(value), reason, needs_text(*obstacle));
}

}  // namespace

namespace detail {

void drop_displaced(LoadedConfig& loaded) {
  Config& config = loaded.config;
  const auto from_row = [](const std::string& origin) { return origin.starts_with("placement "); };
  const auto users_own = [&](const std::string& key) {
    const std::string origin = loaded.origin(key);
    return origin != "default" && !from_row(origin);
  };
  const auto displaced = [&](const std::optional<Condition>& obstacle) {
    if (!obstacle) return false;
    if (users_own(obstacle->key)) return true;
    return is_standard(field_value(*find_field(obstacle->key), config)) && users_own("model.norm_kind");
  };
  for (const Field& field : config_fields()) {
    if (!from_row(loaded.origin(field.key)) || !displaced(Search{field, config}.obstacle())) continue;
    assign(field, field.member(config), field_default(field), "default");
    loaded.origins.erase(field.key);
  }
  for (OverrideConfig& change : config.model.overrides) {
    if (!from_row(change.origin)) continue;
    // The search reads the overrides, so that they change only after it.
    std::vector<std::pair<std::string, std::string>> kept;
    for (const auto& setting : change.settings) {
      const Field& field = *find_field("model." + setting.first);
      if (!displaced(Search{field, config, &change}.obstacle())) kept.push_back(setting);
    }
    change.settings = std::move(kept);
  }
  std::erase_if(config.model.overrides, [](const OverrideConfig& change) { return change.settings.empty(); });
}

void validate_all_read(const LoadedConfig& loaded) {
  for (const OverrideConfig& change : loaded.config.model.overrides) check_override(change, loaded.config);
  for (const Field& field : config_fields()) {
    if (!field.read_when.empty() || !field.acts_in.empty()) check_key(field, loaded);
  }
}

}  // namespace detail
}  // namespace plumb
