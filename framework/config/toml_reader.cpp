#include "config/toml_reader.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/error.h"

namespace plumb {
namespace {

TomlValue::Table convert_table(const toml::table& table);

TomlValue convert(const toml::node& node) {
  TomlValue value;
  value.line = static_cast<std::int64_t>(node.source().begin.line);
  if (const auto* boolean = node.as_boolean()) {
    value.data = boolean->get();
  } else if (const auto* integer = node.as_integer()) {
    value.data = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    value.data = number->get();
  } else if (const auto* text = node.as_string()) {
    value.data = text->get();
  } else if (const auto* array = node.as_array()) {
    TomlValue::List list;
    for (const toml::node& entry : *array) list.push_back(convert(entry));
    value.data = std::move(list);
  } else if (const auto* table = node.as_table()) {
    value.data = convert_table(*table);
  } else {
    std::ostringstream text_of_date;
    node.visit([&](const auto& date) {
      if constexpr (toml::is_chronological<decltype(date)>) text_of_date << date.get();
    });
    value.data = TomlValue::DateOrTime{text_of_date.str()};
  }
  return value;
}

TomlValue::Table convert_table(const toml::table& table) {
  TomlValue::Table entries;
  for (const auto& [key, node] : table) entries.push_back({std::string(key.str()), convert(node)});
  // The library sorts by name; a reader of messages expects the first fault of the file first.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const TomlEntry& x, const TomlEntry& y) { return x.value.line < y.value.line; });
  return entries;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\') {
      out += '\\';
      out += character;
    } else if (character == '\n') {
      out += "\\n";
    } else if (character == '\t') {
      out += "\\t";
    } else if (code < 0x20 || code == 0x7f) {
      out += fmt::format("\\u{:04x}", code);
    } else {
      out += character;
    }
  }
  return out + '"';
}

std::string number_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", number);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

TomlValue::Table parse_toml(std::string_view text, const std::string& name) {
  try {
    return convert_table(toml::parse(text, name));
  } catch (const toml::parse_error& error) {
    std::string fault(error.description());
    std::replace(fault.begin(), fault.end(), '\n', ' ');
    fail_input("{}:{}: not valid TOML: {}", name, error.source().begin.line, fault);
  }
}

std::optional<TomlValue> parse_toml_value(std::string_view text) {
  try {
    const toml::table table = toml::parse(fmt::format("value = {}\n", text));
    if (table.size() != 1) return std::nullopt;
    TomlValue value = convert(*table.get("value"));
    value.line = 0;
    return value;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

std::string toml_text(const TomlValue& value) {
  struct Writer {
    std::string operator()(bool boolean) const { return boolean ? "true" : "false"; }
    std::string operator()(std::int64_t integer) const { return fmt::format("{}", integer); }
    std::string operator()(double number) const { return number_text(number); }
    std::string operator()(const std::string& text) const { return quoted(text); }
    std::string operator()(const TomlValue::List& list) const {
      std::string out;
      for (const TomlValue& entry : list) out += (out.empty() ? "" : ", ") + toml_text(entry);
      return "[" + out + "]";
    }
    std::string operator()(const TomlValue::Table& table) const {
      std::string out;
      for (const TomlEntry& entry : table) {
        out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", entry.key, toml_text(entry.value));
      }
      return "{" + out + "}";
    }
    std::string operator()(const TomlValue::DateOrTime& date) const { return date.text; }
  };
  return std::visit(Writer{}, value.data);
}

std::string describe(const TomlValue& value) {
  static constexpr const char* kNames[] = {"the boolean ",     "the whole number ", "the number ",
                                           "the string ",      "the list ",         "a table",
                                           "the date or time "};
  const std::string name = kNames[value.data.index()];
  return std::holds_alternative<TomlValue::Table>(value.data) ? name : name + toml_text(value);
}

}  // namespace plumb
