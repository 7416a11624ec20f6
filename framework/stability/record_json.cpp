#include "stability/record_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/finite.h"
#include "stability/absent.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;

/// Numbers of one record: JSON has no NaN and no infinity, so these become null and are listed.
class Numbers {
 public:
  Json number(const std::string& path, double value) {
    if (std::isfinite(value)) return value;
    nonfinite_.push_back({{"path", path}, {"kind", non_finite_kind(value)}});
    return nullptr;
  }
  std::string line(Json record) {
    if (!nonfinite_.empty()) record["nonfinite"] = std::move(nonfinite_);
    return record.dump() + "\n";
  }

 private:
  Json nonfinite_ = Json::array();
};

/// A value that does not exist is null, and nothing to report.
Json value_json(Numbers& numbers, Form form, const std::string& path, double value) {
  if (is_absent(value)) return nullptr;
  if (!std::isfinite(value) || form == Form::Number) return numbers.number(path, value);
  return form == Form::Flag ? Json(value != 0) : Json(static_cast<std::int64_t>(value));
}

/// "a.b.c" -> /a/b/c
Json::json_pointer place_of(const std::string& path) {
  std::string text = "/" + path;
  std::replace(text.begin(), text.end(), '.', '/');
  return Json::json_pointer(text);
}

}  // namespace

std::string record_line(const StepRecord& record, std::string_view file) {
  Numbers numbers;
  Json json;
  for (const RecordField& field : record.layout->fields()) {
    if (field.statistic->file != file) continue;
    const std::span<const double> values = record.of(field);
    if (std::all_of(values.begin(), values.end(), is_absent)) continue;
    const Form form = field.statistic->form;
    if (!field.is_list) {
      json[place_of(field.path)] = value_json(numbers, form, field.path, values[0]);
      continue;
    }
    Json list = Json::array();
    for (std::size_t i = 0; i < values.size(); ++i)
      list.push_back(value_json(numbers, form, fmt::format("{}[{}]", field.path, i), values[i]));
    json[place_of(field.path)] = std::move(list);
  }
  return numbers.line(std::move(json));
}

std::string stability_header(const std::vector<std::string>& tensors, const std::vector<std::string>& norms,
                             const std::vector<std::string>& sublayers) {
  return Json{{"kind", "header"}, {"tensors", tensors}, {"norms", norms}, {"sublayers", sublayers}}.dump() +
         "\n";
}

std::string event_line(std::string_view kind, std::int64_t step, std::string_view text, std::string_view time,
                       const EventSubject& subject) {
  Json json{{"step", step}, {"kind", kind}};
  if (!subject.ranks.empty()) json["ranks"] = subject.ranks;
  if (!subject.hosts.empty()) json["hosts"] = subject.hosts;
  if (!subject.tensor.empty()) json["tensor"] = subject.tensor;
  if (subject.first_sequence >= 0) {
    json["first_sequence"] = subject.first_sequence;
    json["sequences"] = subject.sequences;
  }
  json["text"] = text;
  json["time"] = time;
  // Text from outside (paths, system messages) may not be UTF-8: such bytes are replaced, not thrown at.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace plumb
