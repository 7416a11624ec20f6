// RankAlarms: the rules about single ranks (docs/alarms.md) over the records of a run, and their events.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/safetensors.h"
#include "stability/event_subject.h"
#include "stability/rank_deviations.h"
#include "stability/replica_difference.h"
#include "stability/slow_ranks.h"
#include "stability/step_record.h"
#include "stability/step_sources.h"
#include "stability/tensor_deviations.h"

namespace plumb {

/// What one of them writes into the log.
struct RankAlarm {
  std::string kind;  ///< rank_loss, rank_gradient, rank_nonfinite, rank_slow, replica_drift
  std::int64_t step = 0;
  std::string text;
  EventSubject subject;
};

/// Every rank observes every step: all that is looked at has been gathered, so all ranks come to the same
/// alarms and hold the same state. With one rank there is nothing to compare. Allocates for an alarm only.
class RankAlarms {
 public:
  struct Names {
    std::vector<std::string> tensors;  ///< (P) trainable ones
    std::vector<std::string> hosts;    ///< of every rank
  };
  /// The layout of the records to come; it must outlive this.
  RankAlarms(const RecordLayout& layout, Names names);

  /// A finished step, and what its record was made of.
  void observe(const StepRecord& record, const StepSources& sources);
  /// Names of the tensors that ReplicaHashes compares.
  void name_replicas(std::vector<std::string> names) { replicas_ = std::move(names); }
  /// What the comparison of the replicas after this step has found.
  void compare(std::int64_t step, const std::optional<ReplicaDifference>& difference);
  /// The alarms since the last call.
  std::vector<RankAlarm> take();

  /// What a resumed run needs to come to the same alarms; but for slow ranks, whose times are those of this
  /// process on these hosts. Views stay valid and are written to. Their shapes depend on the number of ranks.
  std::vector<NamedTensor> state_tensors();

 private:
  void observe_finite(const StepRecord& record, const StepSources& sources);
  void observe_tensors(const StepRecord& record, const StepSources& sources);
  void observe_times(const StepRecord& record);
  void deviations(std::span<const RankDeviation> begun, const char* kind, const StepRecord& record,
                  const StepSources& sources);
  std::string deviation_text(const RankDeviation& found, bool is_loss, double value) const;
  RankAlarm& raise(const char* kind, std::int64_t step, std::vector<int> ranks);
  void add_sequences(RankAlarm& alarm, const StepSources& sources) const;
  std::string name_of_rank(int rank) const;

  Names names_;
  std::vector<std::string> replicas_;
  int world_;
  const RecordField *losses_, *norms_, *step_seconds_, *wait_seconds_, *preempted_seconds_;
  RankDeviations loss_deviations_, gradient_deviations_;
  TensorDeviations tensor_deviations_;
  SlowRanks slow_ranks_;
  std::vector<double> nonfinite_;  ///< (R) 1: the rank's last loss or gradient was not finite
  std::optional<ReplicaDifference> drift_;
  std::vector<RankAlarm> alarms_;
};

}  // namespace plumb
