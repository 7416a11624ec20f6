// TOML text to plain values and back. The only door to the TOML library, which stays in toml_reader.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace plumb {

struct TomlEntry;

/// A value with the line it was found on (counted from 1; 0 = not from a file).
struct TomlValue {
  using List = std::vector<TomlValue>;
  using Table = std::vector<TomlEntry>;  ///< in the order of the lines
  struct DateOrTime {
    std::string text;
  };
  std::variant<bool, std::int64_t, double, std::string, List, Table, DateOrTime> data;
  std::int64_t line = 0;
};

struct TomlEntry {
  std::string key;  ///< one part of a dotted key
  TomlValue value;
};

/// A whole document. Throws InputError "<name>:<line>: <fault>" for text that is not TOML, which includes a
/// key that is given twice.
TomlValue::Table parse_toml(std::string_view text, const std::string& name);

/// One value as it would stand to the right of '='; nothing if the text is not exactly one TOML value.
std::optional<TomlValue> parse_toml_value(std::string_view text);

/// TOML text of a value, on one line; numbers come back as the same bits.
std::string toml_text(const TomlValue& value);

/// For messages: `the string "abc"`, `the whole number 3`, `a table`.
std::string describe(const TomlValue& value);

}  // namespace plumb
