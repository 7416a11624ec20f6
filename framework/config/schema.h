// The one table of configuration keys: loading, checking, the saved configuration, docs/config.md and the
// help text all come from it. A key is added by adding a row (schema_run.cpp, schema_model.cpp,
// schema_sublayer.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/config.h"
#include "config/toml_reader.h"
#include "core/error.h"

namespace plumb {

/// Where a key's value lives.
using FieldPointer = std::variant<bool*, int*, std::int64_t*, std::uint64_t*, double*, std::string*,
                                  std::vector<double>*, std::vector<std::string>*>;

/// Which values are valid; for lists, of each entry. Numbers are finite in any case.
struct Allowed {
  std::vector<std::string> names;  ///< texts; empty = any
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_excluded = false, high_excluded = false;
};
Allowed anything();
Allowed one_of(std::vector<std::string> names);
Allowed at_least(double low);
Allowed above(double low);
Allowed between(double low, double high);        ///< both included
Allowed from_to_below(double low, double high);  ///< low included, high not
Allowed above_up_to(double low, double high);    ///< low not included, high is

/// One condition on another key: a text is one of `values`, a boolean is "true" or "false", a list has one of
/// them; without `values`, the key is not at its default. The kind `standard` of a norm slot counts as what
/// it stands for.
struct Condition {
  std::string key;  ///< in a FieldSpec a name without a point is a neighbour in the same table
  std::vector<std::string> values;
};

/// When a key is read at all: only if all conditions hold. None: always.
using ReadWhen = std::vector<Condition>;

struct Field {
  std::string key;      ///< full path, "model.norm.in.kind"
  std::string pattern;  ///< what the reference calls it, "model.norm.<slot>.kind"; mostly the key itself
  std::function<FieldPointer(Config&)> member;
  std::function<FieldPointer(SublayerConfig&)> sublayer_member;  ///< set if it may differ between sublayers
  Allowed allowed;
  std::string unit;           ///< may be empty
  std::string documentation;  ///< one sentence
  ReadWhen read_when;
  std::string acts_in;  ///< the only sublayer kind that reads it; empty = every kind
};

template <class Struct>
using Member = std::variant<bool Struct::*, int Struct::*, std::int64_t Struct::*, std::uint64_t Struct::*,
                            double Struct::*, std::string Struct::*, std::vector<double> Struct::*,
                            std::vector<std::string> Struct::*>;

/// One row of a table that describes a struct's members; name is relative to the struct's own key.
template <class Struct>
struct FieldSpec {
  FieldSpec(std::string name_in, Member<Struct> member_in, Allowed allowed_in, std::string unit_in,
            std::string documentation_in, ReadWhen read_when_in = {}, std::string acts_in_in = "")
      : name(std::move(name_in)),
        member(member_in),
        allowed(std::move(allowed_in)),
        unit(std::move(unit_in)),
        documentation(std::move(documentation_in)),
        read_when(std::move(read_when_in)),
        acts_in(std::move(acts_in_in)) {}

  std::string name;
  Member<Struct> member;
  Allowed allowed;
  std::string unit;
  std::string documentation;
  ReadWhen read_when;
  std::string acts_in;
};

/// Every key, in the order of the reference.
const std::vector<Field>& config_fields();
/// Null if there is no such key.
const Field* find_field(const std::string& key);
std::vector<std::string> config_keys();
/// Keys relative to `model` that an override may hold.
std::vector<std::string> override_keys();

/// The current value. `config` is not changed.
TomlValue field_value(const Field& field, const Config& config);
TomlValue field_default(const Field& field);

/// Checks type and range and stores. Throws InputError "<origin>: <key> ...".
void assign(const Field& field, const FieldPointer& target, const TomlValue& value,
            const std::string& origin);

/// "a whole number", "a list of strings", ...
std::string type_text(const Field& field);
/// "learned, rotary, none", ">= 1", "0 <= x < 1"; "any" where nothing is refused.
std::string allowed_text(const Field& field);

/// Every key's value and every override, one `key = value` a line: two configurations with the same text
/// behave alike. Without origins.
std::string settings_text(const Config& config);

/// Whether a key shapes the numbers of a run: all but run.*, log.*, statistics.*, alarms.*, checkpoint.*,
/// validation.*, sharpness.* and compute.recompute.
bool shapes_numbers(const std::string& key);

/// Hash of the settings that shape the run's numbers.
std::string config_hash(const Config& config);

namespace detail {
void append_run_fields(std::vector<Field>& fields);
void append_model_fields(std::vector<Field>& fields);
void append_sublayer_fields(std::vector<Field>& fields);

inline ReadWhen absolute(ReadWhen conditions, const std::string& table) {
  for (Condition& condition : conditions) {
    if (condition.key.find('.') == std::string::npos) condition.key = table + "." + condition.key;
  }
  return conditions;
}

template <class Struct>
FieldPointer locate(Struct& object, const Member<Struct>& member) {
  return std::visit([&](auto pointer) -> FieldPointer { return &(object.*pointer); }, member);
}

/// Appends the members of a struct as keys under `table`. `find` gives the struct inside the configuration.
template <class Struct, class Find>
void append_fields(std::vector<Field>& fields, const std::string& table, const std::string& pattern,
                   const std::vector<FieldSpec<Struct>>& specs, Find find) {
  for (const FieldSpec<Struct>& spec : specs) {
    const std::string point = table.empty() ? "" : ".";
    Field field;
    field.key = table + point + spec.name;
    field.pattern = pattern + point + spec.name;
    field.member = [member = spec.member, find](Config& config) { return locate(find(config), member); };
    field.allowed = spec.allowed;
    field.unit = spec.unit;
    field.documentation = spec.documentation;
    field.read_when = absolute(spec.read_when, table);
    field.acts_in = spec.acts_in;
    fields.push_back(std::move(field));
  }
}
}  // namespace detail

}  // namespace plumb
