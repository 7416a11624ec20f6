// The one table of every field of the run logs. A statistic is added by adding a row (and, where its source
// is new, a probe in statistics_layout.h).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stability/statistic.h"

namespace plumb {

/// Files of a run, as the rows name them.
namespace log_file {
inline constexpr std::string_view kMetrics = "metrics.jsonl", kStability = "stability.jsonl",
                                  kHeader = "stability.jsonl (first line)", kRanks = "ranks.jsonl",
                                  kEvents = "events.jsonl";
}  // namespace log_file

/// In the order in which the fields are written, file by file.
std::span<const Statistic> statistics();

/// "a.{b,c}.d" -> "a.b.d", "a.c.d"; a path without braces stays as it is.
std::vector<std::string> expand_path(std::string_view path);

/// Parts of the table, one file each.
namespace detail {
std::span<const Statistic> step_rows();
std::span<const Statistic> header_rows();
std::span<const Statistic> activation_rows();
std::span<const Statistic> residual_rows();
std::span<const Statistic> attention_rows();
std::span<const Statistic> feed_forward_rows();
std::span<const Statistic> norm_rows();
std::span<const Statistic> bound_rows();
std::span<const Statistic> tensor_rows();
std::span<const Statistic> rank_rows();
std::span<const Statistic> event_rows();

/// residual.kappa of sublayer k.
double alignment_kappa(const StepSources& sources, std::int64_t k);

inline constexpr std::string_view kAllRanks = "all", kEachRank = "each", kSameOnAll = "same on all",
                                  kMaxOverAll = "max over all", kMinOverAll = "min over all",
                                  kDefinedHere = "defined here", kNoRows = "-",
                                  kNoise = "arXiv 1812.06162, here for ranks of unequal size";
inline constexpr std::string_view kNonfinite =
    "values of this line that are not finite, each as {path, kind} with kind nan, inf or -inf; the value "
    "itself is null. Absent when there is none";
}  // namespace detail

}  // namespace plumb
