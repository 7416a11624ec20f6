#include "rank_alarms.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

const RecordField* rank_field(const RecordLayout& layout, const char* path) {
  const RecordField* field = layout.find(log_file::kRanks, path);
  PLUMB_CHECK(field != nullptr, "records have no field {} by rank", path);
  return field;
}

std::int64_t tensors_of(const std::vector<std::string>& names) {
  return static_cast<std::int64_t>(names.size());
}

/// Names of tensors are listed up to this many.
constexpr std::size_t kShownTensors = 4;

/// Of the tensors of a rank, beyond which its whole gradient is at fault and none is named.
constexpr double kWholeGradient = 0.5;

}  // namespace

RankAlarms::RankAlarms(const RecordLayout& layout, Names names)
    : names_(std::move(names)),
      world_(layout.world()),
      losses_(rank_field(layout, "loss")),
      norms_(rank_field(layout, "grad_norm")),
      step_seconds_(rank_field(layout, "step_seconds")),
      wait_seconds_(rank_field(layout, "wait_seconds")),
      preempted_seconds_(rank_field(layout, "preempted_seconds")),
      loss_deviations_(world_, RankDeviations::Measure::Value),
      gradient_deviations_(world_, RankDeviations::Measure::Logarithm),
      tensor_deviations_(world_, tensors_of(names_.tensors)),
      slow_ranks_(world_),
      nonfinite_(static_cast<std::size_t>(world_), 0.0) {
  PLUMB_CHECK(static_cast<int>(names_.hosts.size()) == world_, "{} hosts of {} ranks", names_.hosts.size(),
              world_);
}

void RankAlarms::observe(const StepRecord& record, const StepSources& sources) {
  if (world_ < 2) return;
  observe_finite(record, sources);
  deviations(loss_deviations_.observe(record.of(*losses_)), "rank_loss", record, sources);
  const auto begun = gradient_deviations_.observe(record.of(*norms_));
  if (record.sampled) observe_tensors(record, sources);
  deviations(begun, "rank_gradient", record, sources);
  observe_times(record);
}

// An overflow of fp16 gradients is what the loss scale is for.
void RankAlarms::observe_finite(const StepRecord& record, const StepSources& sources) {
  const std::span<const double> losses = record.of(*losses_), norms = record.of(*norms_);
  std::vector<int> begun;
  int finite = 0;
  for (int rank = 0; rank < world_; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    if (sources.row(rank)[kRowSequences] == 0) continue;
    const bool is_finite = std::isfinite(losses[r]) && (std::isfinite(norms[r]) || record.loss_scale != 1);
    finite += is_finite ? 1 : 0;
    if (!is_finite && nonfinite_[r] == 0) begun.push_back(rank);
    nonfinite_[r] = is_finite ? 0 : 1;
  }
  if (begun.empty() || finite == 0) return;  // of all ranks alike it is no rank's fault
  RankAlarm& alarm = raise("rank_nonfinite", record.step, begun);
  add_sequences(alarm, sources);
  const bool has_loss = std::isfinite(losses[static_cast<std::size_t>(begun.front())]);
  alarm.text =
      fmt::format("{}: {} is not finite, while {} of {} ranks have finite ones", name_of_rank(begun.front()),
                  has_loss ? "its gradient" : "its loss", finite, world_);
  if (begun.size() > 1) alarm.text += fmt::format("; the same of {} further rank(s)", begun.size() - 1);
}

void RankAlarms::observe_tensors(const StepRecord& record, const StepSources& sources) {
  const auto norm_of = [&](int rank, std::int64_t tensor) { return sources.local_norm(rank, tensor); };
  for (const TensorDeviation& found : tensor_deviations_.observe(norm_of)) {
    const bool is_whole = tensor_deviations_.share_deviating(found.rank) > kWholeGradient;
    // The norm of the whole gradient has told it, or is about to.
    if (is_whole && gradient_deviations_.sum(found.rank) >= gradient_deviations_.limit() / 4) continue;
    RankAlarm& alarm = raise("rank_gradient", record.step, {found.rank});
    add_sequences(alarm, sources);
    alarm.subject.tensor = names_.tensors[static_cast<std::size_t>(found.tensor)];
    alarm.text = fmt::format(
        "{}: the norm of its gradient of {} stays away from that on the other ranks, now at {:.3g} of their "
        "median, {:.1f} standard deviations away",
        name_of_rank(found.rank), alarm.subject.tensor, std::exp(found.difference), found.deviation);
    if (found.tensors > 1) alarm.text += fmt::format("; the same of {} further tensor(s)", found.tensors - 1);
  }
}

void RankAlarms::observe_times(const StepRecord& record) {
  for (const SlowRank& found : slow_ranks_.observe(record.of(*step_seconds_), record.of(*wait_seconds_),
                                                   record.of(*preempted_seconds_))) {
    RankAlarm& alarm = raise("rank_slow", record.step, {found.rank});
    alarm.text = fmt::format(
        "{} is slow: busy for {:.3g} s in this step, the other ranks for {:.3g} s; slow in {} steps in a "
        "row, "
        "which cost {:.2g} s",
        name_of_rank(found.rank), found.busy_seconds, found.others_seconds, found.steps, found.lost_seconds);
  }
}

void RankAlarms::deviations(std::span<const RankDeviation> begun, const char* kind, const StepRecord& record,
                            const StepSources& sources) {
  if (begun.empty()) return;
  const bool is_loss = std::string_view(kind) == "rank_loss";
  const std::span<const double> values = record.of(is_loss ? *losses_ : *norms_);
  const auto text_of = [&](const RankDeviation& found) {
    return deviation_text(found, is_loss, values[static_cast<std::size_t>(found.rank)]);
  };
  if (world_ == 2) {
    RankAlarm& alarm = raise(kind, record.step, {0, 1});
    alarm.text = text_of(begun.front()) + "; of two ranks it cannot be told which is at fault";
    return;
  }
  for (const RankDeviation& found : begun) {
    RankAlarm& alarm = raise(kind, record.step, {found.rank});
    add_sequences(alarm, sources);
    alarm.text = text_of(found);
    const double share = is_loss ? 0 : tensor_deviations_.share_deviating(found.rank);
    if (share == 0 || share > kWholeGradient) continue;
    alarm.subject.tensor = names_.tensors[static_cast<std::size_t>(tensor_deviations_.farthest(found.rank))];
    alarm.text += fmt::format("; most of all in {}", alarm.subject.tensor);
  }
}

std::string RankAlarms::deviation_text(const RankDeviation& found, bool is_loss, double value) const {
  return is_loss ? fmt::format(
                       "{}: its loss stays away from that of the other ranks, now {:.4g} beside a "
                       "median of {:.4g}, {:.1f} robust standard deviations away",
                       name_of_rank(found.rank), value, value - found.difference, found.deviation)
                 : fmt::format(
                       "{}: its gradient's norm stays away from that of the other ranks, now at {:.3g} "
                       "of their median, {:.1f} robust standard deviations away",
                       name_of_rank(found.rank), std::exp(found.difference), found.deviation);
}

void RankAlarms::compare(std::int64_t step, const std::optional<ReplicaDifference>& difference) {
  if (difference == drift_) return;  // one that stays is told once
  drift_ = difference;
  if (!difference) return;
  RankAlarm& alarm = raise("replica_drift", step, difference->ranks);
  std::vector<std::string> names;
  for (const std::int64_t tensor : difference->tensors) {
    if (names.size() < kShownTensors) names.push_back(replicas_[static_cast<std::size_t>(tensor)]);
  }
  alarm.subject.tensor = names.front();
  const std::size_t further = difference->tensors.size() - names.size();
  std::string where = fmt::format("{}", fmt::join(names, ", "));
  if (further > 0) where += fmt::format(" and {} more", further);
  std::vector<std::string> ranks;
  for (const int rank : difference->ranks) ranks.push_back(name_of_rank(rank));
  alarm.text = difference->has_majority
                   ? fmt::format("{}: other bits than most ranks have in {}", fmt::join(ranks, ", "), where)
                   : fmt::format(
                         "ranks hold different bits in {}, and no content has a majority: which rank "
                         "is at fault cannot be told",
                         where);
}

std::vector<RankAlarm> RankAlarms::take() { return std::exchange(alarms_, {}); }

RankAlarm& RankAlarms::raise(const char* kind, std::int64_t step, std::vector<int> ranks) {
  RankAlarm& alarm = alarms_.emplace_back(RankAlarm{.kind = kind, .step = step, .text = {}, .subject = {}});
  for (const int rank : ranks) alarm.subject.hosts.push_back(names_.hosts[static_cast<std::size_t>(rank)]);
  alarm.subject.ranks = std::move(ranks);
  return alarm;
}

void RankAlarms::add_sequences(RankAlarm& alarm, const StepSources& sources) const {
  const int rank = alarm.subject.ranks.front();
  alarm.subject.first_sequence = sources.first_sequence(rank);
  alarm.subject.sequences = static_cast<std::int64_t>(sources.row(rank)[kRowSequences]);
}

std::string RankAlarms::name_of_rank(int rank) const {
  return fmt::format("rank {} ({})", rank, names_.hosts[static_cast<std::size_t>(rank)]);
}

std::vector<NamedTensor> RankAlarms::state_tensors() {
  return {{"alarms/loss", loss_deviations_.state()},
          {"alarms/gradient", gradient_deviations_.state()},
          {"alarms/tensors", tensor_deviations_.state()},
          {"alarms/nonfinite", Tensor(nonfinite_.data(), DType::Float64, {world_})}};
}

}  // namespace plumb
