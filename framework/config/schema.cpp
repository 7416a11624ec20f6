#include "config/schema.h"

#include <cmath>
#include <type_traits>
#include <unordered_map>

#include "config/nearest.h"
#include "core/error.h"
#include "core/hash.h"

namespace plumb {
namespace {

constexpr std::string_view kModelPrefix = "model.";

bool is_one_of(const std::vector<std::string>& names, const std::string& name) {
  for (const std::string& entry : names) {
    if (entry == name) return true;
  }
  return false;
}

/// Checks and converts one TOML value for one field.
struct Reader {
  const Field& field;
  const TomlValue& value;
  const std::string& origin;

  [[noreturn]] void wrong_type() const {
    fail_input("{}: {} wants {}, found {}", origin, field.key, type_text(field), describe(value));
  }
  [[noreturn]] void not_allowed() const {
    fail_input("{}: {} = {} is not allowed; allowed: {}", origin, field.key, toml_text(value),
               allowed_text(field));
  }
  template <class T>
  const T& as(const TomlValue& found) const {
    const T* data = std::get_if<T>(&found.data);
    if (data == nullptr) wrong_type();
    return *data;
  }
  double checked(double number) const {
    const Allowed& allowed = field.allowed;
    const bool below = allowed.low_excluded ? number <= allowed.low : number < allowed.low;
    const bool over = allowed.high_excluded ? number >= allowed.high : number > allowed.high;
    if (!std::isfinite(number) || below || over) not_allowed();
    return number;
  }
  double number(const TomlValue& found) const {
    if (const auto* integer = std::get_if<std::int64_t>(&found.data))
      return checked(static_cast<double>(*integer));
    return checked(as<double>(found));
  }
  std::string text(const TomlValue& found) const {
    const std::string& name = as<std::string>(found);
    if (!field.allowed.names.empty() && !is_one_of(field.allowed.names, name)) not_allowed();
    return name;
  }

  void store(bool* member) const { *member = as<bool>(value); }
  void store(double* member) const { *member = number(value); }
  void store(std::string* member) const { *member = text(value); }
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  void store(Integer* member) const {
    const std::int64_t integer = as<std::int64_t>(value);
    checked(static_cast<double>(integer));
    *member = static_cast<Integer>(integer);
  }
  void store(std::vector<double>* member) const {
    std::vector<double> entries;
    for (const TomlValue& entry : as<TomlValue::List>(value)) entries.push_back(number(entry));
    *member = std::move(entries);
  }
  void store(std::vector<std::string>* member) const {
    std::vector<std::string> entries;
    for (const TomlValue& entry : as<TomlValue::List>(value)) entries.push_back(text(entry));
    *member = std::move(entries);
  }
};

template <class T>
TomlValue to_toml(const T& member) {
  TomlValue value;
  if constexpr (std::is_same_v<T, std::vector<double>> || std::is_same_v<T, std::vector<std::string>>) {
    TomlValue::List list;
    for (const auto& entry : member) list.push_back(to_toml(entry));
    value.data = std::move(list);
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    value.data = static_cast<std::int64_t>(member);
  } else {
    value.data = member;
  }
  return value;
}

std::string text_of_settings(const Config& config, bool all) {
  std::string out;
  for (const Field& field : config_fields()) {
    if (!all && !shapes_numbers(field.key)) continue;
    out += fmt::format("{} = {}\n", field.key, toml_text(field_value(field, config)));
  }
  for (const OverrideConfig& change : config.model.overrides) {
    out += fmt::format("override {} {} {}\n", toml_text(to_toml(change.blocks)),
                       change.fractions ? "of depth" : "blocks", change.sublayer);
    for (const auto& [key, value] : change.settings) out += fmt::format("  {} = {}\n", key, value);
  }
  return out;
}

/// A whole number without a trailing ".0", since limits of counts are held as double.
std::string limit_text(double limit) { return fmt::format("{}", limit); }

}  // namespace

Allowed anything() { return {}; }
Allowed one_of(std::vector<std::string> names) {
  Allowed allowed;
  allowed.names = std::move(names);
  return allowed;
}
Allowed at_least(double low) { return {.names = {}, .low = low}; }
Allowed above(double low) { return {.names = {}, .low = low, .low_excluded = true}; }
Allowed between(double low, double high) { return {.names = {}, .low = low, .high = high}; }
Allowed from_to_below(double low, double high) {
  return {.names = {}, .low = low, .high = high, .high_excluded = true};
}
Allowed above_up_to(double low, double high) {
  return {.names = {}, .low = low, .high = high, .low_excluded = true};
}

const std::vector<Field>& config_fields() {
  static const std::vector<Field> fields = [] {
    std::vector<Field> list;
    detail::append_run_fields(list);
    detail::append_model_fields(list);
    detail::append_sublayer_fields(list);
    return list;
  }();
  return fields;
}

const Field* find_field(const std::string& key) {
  static const std::unordered_map<std::string, const Field*> index = [] {
    std::unordered_map<std::string, const Field*> map;
    for (const Field& field : config_fields()) {
      const bool is_new = map.emplace(field.key, &field).second;
      PLUMB_CHECK(is_new, "key '{}' is twice in the schema", field.key);
    }
    return map;
  }();
  const auto found = index.find(key);
  return found == index.end() ? nullptr : found->second;
}

std::vector<std::string> config_keys() {
  std::vector<std::string> keys;
  for (const Field& field : config_fields()) keys.push_back(field.key);
  return keys;
}

std::vector<std::string> override_keys() {
  std::vector<std::string> keys;
  for (const Field& field : config_fields()) {
    if (field.sublayer_member) keys.push_back(field.key.substr(kModelPrefix.size()));
  }
  return keys;
}

TomlValue field_value(const Field& field, const Config& config) {
  // The accessor serves reading and writing alike; here it only reads.
  return std::visit([](const auto* member) { return to_toml(*member); },
                    field.member(const_cast<Config&>(config)));
}

TomlValue field_default(const Field& field) {
  static const Config defaults;
  return field_value(field, defaults);
}

void assign(const Field& field, const FieldPointer& target, const TomlValue& value,
            const std::string& origin) {
  const Reader reader{field, value, origin};
  std::visit([&](auto* member) { reader.store(member); }, target);
}

std::string type_text(const Field& field) {
  static constexpr const char* kNames[] = {"true or false",     "a whole number",   "a whole number",
                                           "a whole number",    "a number",         "a string",
                                           "a list of numbers", "a list of strings"};
  Config config;
  return kNames[field.member(config).index()];
}

std::string allowed_text(const Field& field) {
  const Allowed& allowed = field.allowed;
  if (!allowed.names.empty()) return joined(allowed.names);
  const bool has_low = std::isfinite(allowed.low), has_high = std::isfinite(allowed.high);
  const char* low_sign = allowed.low_excluded ? "<" : "<=";
  const char* high_sign = allowed.high_excluded ? "<" : "<=";
  if (has_low && has_high) {
    return fmt::format("{} {} x {} {}", limit_text(allowed.low), low_sign, high_sign,
                       limit_text(allowed.high));
  }
  if (has_low) return fmt::format("{} {}", allowed.low_excluded ? ">" : ">=", limit_text(allowed.low));
  if (has_high) return fmt::format("{} {}", high_sign, limit_text(allowed.high));
  const std::string type = type_text(field);
  return type == "a number" || type == "a list of numbers" ? "any finite number" : "any";
}

bool shapes_numbers(const std::string& key) {
  for (const char* table :
       {"run.", "log.", "statistics.", "alarms.", "checkpoint.", "validation.", "sharpness."}) {
    if (key.rfind(table, 0) == 0) return false;
  }
  return key != "compute.recompute";
}

std::string settings_text(const Config& config) { return text_of_settings(config, true); }

std::string config_hash(const Config& config) {
  return hash_to_string(hash_text(text_of_settings(config, false)));
}

}  // namespace plumb
