// The one table of every field of the run logs; docs/metrics.md is generated from it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace plumb {

struct MetricField {
  std::string_view file;        ///< "metrics.jsonl", ...
  std::string_view name;        ///< path in the record, levels joined by dots; {a,b} = two fields
  std::string_view definition;  ///< in words, with the formula
  std::string_view unit;
  std::string_view shape;   ///< "scalar", "(K+1)", ...
  std::string_view ranks;   ///< over which ranks it is taken
  std::string_view source;  ///< where the definition comes from
};

/// In the order in which the fields are written.
std::span<const MetricField> metric_fields();

/// docs/metrics.md as Markdown.
std::string metrics_reference_markdown();

}  // namespace plumb
