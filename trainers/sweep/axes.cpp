#include "sweep/axes.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "config/nearest.h"
#include "config/override.h"
#include "config/schema.h"
#include "config/toml_reader.h"

namespace plumb {
namespace {

constexpr const char* kOverrideKey = "model.override";
constexpr const char* kOverKey = "over";
const std::vector<std::string> kOwnKeys = {"run.dir", "run.name", "run.overwrite"};

/// What names a folder everywhere.
std::string folder_text(const std::string& text) {
  std::string out;
  for (const char character : text) {
    const bool is_plain = std::isalnum(static_cast<unsigned char>(character)) != 0 ||
                          std::string_view(".+-_=").find(character) != std::string_view::npos;
    out += is_plain ? character : '-';
  }
  return out;
}

/// Reads one [sweep]; `name` is the file's, for messages.
class Reader {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}

  SweepAxes read(const TomlValue& sweep) {
    for (const TomlEntry& entry : table_of(sweep, "sweep")) {
      if (entry.key == "axis") {
        for (const TomlEntry& axis : table_of(entry.value, "sweep.axis")) read_named_axis(axis);
      } else if (entry.key == "cell") {
        for (const TomlEntry& cell : table_of(entry.value, "sweep.cell")) read_cell(cell);
      } else {
        read_key_axis(entry.key, entry.value);
      }
    }
    // Tables gather keys that are lines apart; the file's own order is the user's.
    std::stable_sort(result_.axes.begin(), result_.axes.end(),
                     [](const SweepAxis& x, const SweepAxis& y) { return x.line < y.line; });
    shorten_labels();
    check_axes();
    return std::move(result_);
  }

 private:
  std::string at(std::int64_t line) const { return origin_text(name_, line); }

  const TomlValue::Table& table_of(const TomlValue& value, const std::string& key) const {
    const auto* table = std::get_if<TomlValue::Table>(&value.data);
    if (table == nullptr) fail_input("{}: '{}' is a table, found {}", at(value.line), key, describe(value));
    return *table;
  }

  void add_setting(std::vector<SweepSetting>& settings, const std::string& key,
                   const TomlValue& value) const {
    for (const std::string& own : kOwnKeys) {
      if (keys_overlap(key, own))
        fail_input("{}: the sweep itself sets {} of every cell", at(value.line), own);
    }
    settings.push_back({key, toml_text(value), value.line});
  }

  /// Down to keys of the configuration, or to what is none: loading a cell says so, with the line.
  void flatten(std::vector<SweepSetting>& settings, const std::string& key, const TomlValue& value) const {
    const auto* table = std::get_if<TomlValue::Table>(&value.data);
    if (table == nullptr || table->empty() || key == kOverrideKey) {
      add_setting(settings, key, value);
      return;
    }
    for (const TomlEntry& entry : *table) flatten(settings, key + "." + entry.key, entry.value);
  }

  void read_key_axis(const std::string& key, const TomlValue& value) {
    if (const auto* table = std::get_if<TomlValue::Table>(&value.data)) {
      if (table->empty()) fail_unknown_key(at(value.line), key);
      for (const TomlEntry& entry : *table) read_key_axis(key + "." + entry.key, entry.value);
      return;
    }
    const auto* values = std::get_if<TomlValue::List>(&value.data);
    if (values == nullptr) {
      fail_input(
          "{}: an axis is a list of values, found {} for {}; what all cells have stands outside [sweep]",
          at(value.line), describe(value), key);
    }
    SweepAxis axis{.name = key, .choices = {}, .line = value.line};
    for (const TomlValue& choice : *values) {
      SweepChoice& added = axis.choices.emplace_back();
      const auto* text = std::get_if<std::string>(&choice.data);
      added.value = text != nullptr && !text->empty() ? *text : toml_text(choice);
      flatten(added.settings, key, choice);
    }
    result_.axes.push_back(std::move(axis));
  }

  void read_named_axis(const TomlEntry& entry) {
    SweepAxis axis{.name = entry.key, .choices = {}, .line = entry.value.line};
    for (const TomlEntry& choice : table_of(entry.value, "sweep.axis." + entry.key)) {
      SweepChoice& added = axis.choices.emplace_back();
      added.value = choice.key;
      added.label = folder_text(choice.key);
      for (const TomlEntry& setting : table_of(choice.value, axis.name + "." + choice.key))
        flatten(added.settings, setting.key, setting.value);
    }
    named_.insert(axis.name);
    result_.axes.push_back(std::move(axis));
  }

  void read_cell(const TomlEntry& entry) {
    SweepExtraCell cell;
    cell.choice.value = entry.key;
    cell.choice.label = folder_text(entry.key);
    cell.line = entry.value.line;
    for (const TomlEntry& setting : table_of(entry.value, "sweep.cell." + entry.key)) {
      if (setting.key == kOverKey) {
        read_over(cell, setting.value);
      } else {
        flatten(cell.choice.settings, setting.key, setting.value);
      }
    }
    result_.extra.push_back(std::move(cell));
  }

  void read_over(SweepExtraCell& cell, const TomlValue& value) const {
    const auto* list = std::get_if<TomlValue::List>(&value.data);
    const auto is_text = [](const TomlValue& entry) {
      return std::holds_alternative<std::string>(entry.data);
    };
    if (list == nullptr || !std::all_of(list->begin(), list->end(), is_text)) {
      fail_input("{}: `over` is a list of names of axes, found {}", at(value.line), describe(value));
    }
    for (const TomlValue& axis : *list) cell.over.push_back(std::get<std::string>(axis.data));
  }

  /// "pre" needs no key beside it, "0.001" does: the last part of the key, or all of it where axes share
  /// that.
  void shorten_labels() {
    const auto last_part = [](const std::string& key) { return key.substr(key.rfind('.') + 1); };
    for (SweepAxis& axis : result_.axes) {
      if (named_.contains(axis.name)) continue;
      const auto same = std::count_if(result_.axes.begin(), result_.axes.end(), [&](const SweepAxis& other) {
        return last_part(other.name) == last_part(axis.name);
      });
      const std::string key = same == 1 ? last_part(axis.name) : axis.name;
      for (std::size_t i = 0; i < axis.choices.size(); ++i) {
        SweepChoice& choice = axis.choices[i];
        const std::string& value = choice.settings.empty() ? std::string() : choice.settings[0].value;
        const bool is_one_value = choice.settings.size() == 1 && choice.settings[0].key == axis.name;
        const bool is_text = is_one_value && value.starts_with('"');
        // Tables and lists are too long for a name.
        const bool is_short = is_one_value && !value.starts_with('[') && !value.starts_with('{');
        const std::string text = is_short ? choice.value : std::to_string(i + 1);
        choice.label = folder_text(is_text && same == 1 ? text : key + "=" + text);
      }
    }
  }

  void check_axes() const {
    for (const SweepAxis& axis : result_.axes) {
      if (axis.choices.empty()) fail_input("{}: the axis {} has no values", at(axis.line), axis.name);
      check_labels(axis);
      for (const SweepAxis& other : result_.axes) {
        if (&other == &axis) break;
        check_apart(other, axis.choices, axis.name, axis.line);
      }
    }
    for (const SweepExtraCell& cell : result_.extra) {
      for (const std::string& name : cell.over)
        check_apart(axis_of(cell, name), {cell.choice}, cell.choice.label, cell.line);
    }
    if (result_.axes.empty() && result_.extra.empty()) {
      fail_input("{}: [sweep] has neither an axis, key = [values], nor a [sweep.cell.NAME]", name_);
    }
  }

  void check_labels(const SweepAxis& axis) const {
    std::set<std::string> labels;
    for (const SweepChoice& choice : axis.choices) {
      if (choice.value.empty())
        fail_input("{}: a choice of the axis {} has no name", at(axis.line), axis.name);
      if (labels.insert(choice.label).second) continue;
      fail_input("{}: two values of the axis {} are called '{}'", at(axis.line), axis.name, choice.label);
    }
  }

  const SweepAxis& axis_of(const SweepExtraCell& cell, const std::string& name) const {
    std::vector<std::string> known;
    for (const SweepAxis& axis : result_.axes) {
      if (axis.name == name) return axis;
      known.push_back(axis.name);
    }
    if (known.empty()) fail_input("{}: `over` names the axis '{}', but there is none", at(cell.line), name);
    fail_input("{}: `over` names the unknown axis '{}'; did you mean '{}'?", at(cell.line), name,
               nearest_word(name, known));
  }

  void check_apart(const SweepAxis& axis, const std::vector<SweepChoice>& choices, const std::string& name,
                   std::int64_t line) const {
    for (const SweepChoice& first : axis.choices) {
      for (const SweepSetting& x : first.settings) {
        for (const SweepChoice& second : choices) {
          for (const SweepSetting& y : second.settings) {
            if (!keys_overlap(x.key, y.key)) continue;
            fail_input("{}: {} sets {}, which the axis {} (line {}) sets too", at(line), name, y.key,
                       axis.name, axis.line);
          }
        }
      }
    }
  }

  std::string name_;
  SweepAxes result_;
  std::set<std::string> named_;  ///< the axes of [sweep.axis]
};

}  // namespace

bool keys_overlap(const std::string& x, const std::string& y) {
  // Override tables add up.
  if (x == kOverrideKey || y == kOverrideKey) return false;
  return x == y || x.starts_with(y + ".") || y.starts_with(x + ".");
}

SweepAxes read_sweep_axes(const ConfigSource& source) {
  for (const TomlEntry& entry : parse_toml(source.text, source.name)) {
    if (entry.key == "sweep") return Reader(source.name).read(entry.value);
  }
  fail_input(
      "{}: there is no table [sweep]; it lists what varies, e.g. model.placement = [\"pre\", \"post\"]",
      source.name);
}

}  // namespace plumb
