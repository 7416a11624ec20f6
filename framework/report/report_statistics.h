// The one table of what `plumb report` reads and shows: names in the log, titles, explanations, sources.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "stability/statistic.h"

namespace plumb {

/// How a value lies in its record. Derived: not in the log, computed for the page.
enum class StatisticShape {
  Scalar,    ///< of a step
  Boundary,  ///< (K+1): the stream before every sublayer and after the last
  Sublayer,  ///< (K)
  Tensor,    ///< (P)
  Rank,      ///< (R)
  Block,     ///< (L), derived from tensors
  Derived,   ///< of a step, derived
};

struct ReportStatistic {
  std::string_view id;    ///< in the page; that of a logged one ends in its path
  std::string_view file;  ///< "metrics.jsonl", ...; "" for what is derived
  std::string_view path;  ///< in the record, levels joined by dots
  StatisticShape shape;
  std::string_view section;  ///< of the page: "loss", "depth", ...; "" = used, not drawn by itself
  std::string_view title;
  std::string_view unit;
  bool logarithmic;             ///< drawn on a logarithmic axis
  std::string_view sentence;    ///< what the plot shows and how it is read
  std::string_view source;      ///< of the definition, or of the claim that makes it worth watching
  std::string_view written_by;  ///< what has the value in the log, where no key of [statistics] has it
};

/// In the order of the page.
std::span<const ReportStatistic> report_statistics();

/// Null when there is none.
const ReportStatistic* find_statistic(std::string_view id);

/// The row of docs/metrics.md of a logged field; null for one that is derived or that this program does not
/// write.
const Statistic* declared_field(const ReportStatistic& statistic);
/// What has it in the log: a configuration key, or in words.
std::string written_by(const ReportStatistic& statistic);

}  // namespace plumb
