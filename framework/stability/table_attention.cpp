// Rows of the table: attention, sublayer by sublayer, at detailed records.
#include <algorithm>
#include <limits>

#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

using log_file::kStability;

constexpr std::string_view kSource = "arXiv 2303.06296";

/// Mean over rows, nats.
double head_entropy(const StepSources& sources, std::int64_t k, std::int64_t head) {
  const std::int64_t branch = sources.shape().sublayers + 1 + k;
  return sources.summed(kAttentionEntropyPart, k * sources.shape().heads + head) /
         sources.moment(branch, kMomentRows);
}

double mean_entropy(const StepSources& sources, std::int64_t k) {
  if (!sources.shape().attends(k)) return kAbsent;
  const std::int64_t heads = sources.shape().heads;
  double sum = 0;
  for (std::int64_t head = 0; head < heads; ++head) sum += head_entropy(sources, k, head);
  return sum / static_cast<double>(heads);
}

double least_entropy(const StepSources& sources, std::int64_t k) {
  if (!sources.shape().attends(k)) return kAbsent;
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t head = 0; head < sources.shape().heads; ++head) {
    least = minimum_or_nan(head_entropy(sources, k, head), least);
  }
  return least;
}

template <Formula entropy>
double normalised(const StepSources& sources, std::int64_t k) {
  const double most = sources.shape().mean_log_keys;
  return !sources.shape().attends(k) || most == 0 ? kAbsent : entropy(sources, k) / most;
}

double max_logit(const StepSources& sources, std::int64_t k) {
  return sources.shape().attends(k) ? sources.largest(kAttentionLogitPart, k) : kAbsent;
}

constexpr Statistic kRows[] = {
    Statistic{
        kStability, "attention.max_logit",
        "largest logit scale q.k (after a soft cap, if there is one) over heads, queries and the keys that "
        "they see",
        "nats", Probe::Sublayer, "max", kMaxOverAll, "arXiv 2302.05442, 2309.14322", max_logit}
        .with_key("attention")
        .at_detailed_records(),
    Statistic{kStability, "attention.entropy.mean",
              "mean over heads h and queries i of H_hi = -sum_j a_hij log a_hij, a the probabilities before "
              "dropout",
              "nats", Probe::Sublayer, "mean", kAllRanks, kSource, mean_entropy}
        .with_key("attention")
        .at_detailed_records(),
    Statistic{kStability, "attention.entropy.min", "smallest over heads of the mean over queries of H_hi",
              "nats", Probe::Sublayer, "mean", kAllRanks, kSource, least_entropy}
        .with_key("attention")
        .at_detailed_records(),
    Statistic{
        kStability, "attention.normalised_entropy.mean",
        "attention.entropy.mean / (mean over queries of the log of the number of keys that the query sees): "
        "1 = uniform attention, 0 = one key has all",
        "1", Probe::Sublayer, "mean", kAllRanks, kSource, normalised<mean_entropy>}
        .with_key("attention")
        .at_detailed_records(),
    Statistic{kStability, "attention.normalised_entropy.min", "attention.entropy.min by the same number", "1",
              Probe::Sublayer, "mean", kAllRanks, kSource, normalised<least_entropy>}
        .with_key("attention")
        .at_detailed_records(),
};

}  // namespace

std::span<const Statistic> attention_rows() { return kRows; }

}  // namespace plumb::detail
