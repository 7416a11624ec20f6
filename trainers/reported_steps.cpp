// TrainingLoop: what of a finished step is told, and the end of a run.
#include <fmt/format.h>

#include <cmath>

#include "bound_events.h"
#include "signals.h"
#include "training_loop.h"

namespace plumb {

void TrainingLoop::validate(StepRecord* record) {
  const PhaseRange range(engine_.backend(), "validation");
  engine_.begin_step(
      step_);  // knobs as the next step will have them, which is what a checkpoint taken here means
  const Evaluator::Result result = evaluator_->evaluate(
      step_ == config_.training.steps && config_.validation.at_end ? 0 : config_.validation.sequences);
  outcome_.validation = result;
  record->set("val_loss", result.loss);
  const double bits = bits_per_byte(result.loss, task_.bytes_per_target);
  if (std::isfinite(bits)) record->set("val_bits_per_byte", bits);
  if (session_.is_first()) {
    console_.line(std::isfinite(bits) ? fmt::format("step {}  validation loss {:.4f}  bits per byte {:.4f}",
                                                    step_, result.loss, bits)
                                      : fmt::format("step {}  validation loss {:.4f}", step_, result.loss));
  }
}

void TrainingLoop::report(const StepRecord& record, RunLog* log) {
  const PhaseRange range(engine_.backend(), "log");
  const std::vector<RankAlarm> rank_alarms = rank_alarms_.take();
  if (!session_.is_first()) return;
  if (log != nullptr) {
    log->append(record);
    if (!spike_guard_.verdict().spike.empty()) log->event("spike", record.step, spike_guard_.verdict().spike);
    if (record.skipped) log->event("skip", record.step, skip_reason(record));
  }
  for (const BoundViolation& violation : bound_violations_) {
    console_.line(message_of(violation));
    if (log != nullptr) log->event("bound_violation", record.step, message_of(violation));
  }
  for (const RankAlarm& alarm : rank_alarms) {
    console_.line(fmt::format("step {}  {}", alarm.step, alarm.text));
    if (log != nullptr) log->event(alarm.kind, alarm.step, alarm.text, alarm.subject);
  }
  if (!spike_guard_.verdict().spike.empty())
    console_.line(fmt::format("step {}  {}", record.step, spike_guard_.verdict().spike));
  if (record.skipped) console_.line(fmt::format("step {}  {}", record.step, skip_reason(record)));
  const double smoothing = smoothed_step_seconds_ == 0 ? 0 : 0.95;
  smoothed_step_seconds_ = smoothing * smoothed_step_seconds_ + (1 - smoothing) * record.step_seconds;
  console_.progress(
      {.step = record.step,
       .steps = config_.training.steps,
       .loss = record.loss,
       .gradient_norm = record.gradient_norm,
       .learning_rate = record.learning_rate,
       .tokens_per_second = record.tokens_per_second,
       .seconds_left = smoothed_step_seconds_ * static_cast<double>(config_.training.steps - record.step)},
      config_.log.console_every);
}

void TrainingLoop::end_run(bool stopped, RunLog* log) {
  if (stopped) {
    outcome_.signal = stop_signal() != 0 ? stop_signal() : -1;
    if (log != nullptr) log->event("stop", step_, fmt::format("stopped by a signal after step {}", step_));
  }
  if (log != nullptr && !outcome_.failure.empty()) log->event("stop", step_, outcome_.failure);
  console_.finish();
  if (log != nullptr) log->close();
  outcome_.steps = step_;
}

}  // namespace plumb
