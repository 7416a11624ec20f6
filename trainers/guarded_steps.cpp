// TrainingLoop: what is done about steps that stand out (docs/design/spikes.md, docs/design/non_finite.md).
#include <fmt/format.h>

#include <cmath>

#include "checkpoint/atomic_directory.h"
#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "non_finite_report.h"
#include "training_loop.h"

namespace plumb {

StepLoss TrainingLoop::step_loss() {
  if (rank_losses_.data() == nullptr) return {};
  const Tensor sums = statistics_.probes().loss_sums;
  const Tensor own = sums.reshaped({sums.elements(), 1}).row_range(kHeadLossCrossEntropy, 1).reshaped({1});
  const auto targets = static_cast<double>(sampler_.targets_per_step());
  if (session_.world() == 1) return {.sums = own, .targets = targets};
  const Tensor all(rank_losses_.data(), DType::Float64, {session_.world()});
  tensor_communicator().all_gather("step loss", own, all);
  return {.sums = all, .targets = targets};
}

Tensor TrainingLoop::extra_pass_sums() const {
  return Tensor(extra_pass_sums_.data(), DType::Float64, {kHeadLossSums});
}

void TrainingLoop::discard_steps() {
  while (steps_in_flight_ > 0) {
    const std::int64_t step = statistics_.discard_step();
    reducer_.take_wait_seconds();
    if (run_queue_delay_) run_queue_delay_->take();
    steps_in_flight_ -= 1;
    begin_step_clock();
    if (replica_hashes_ && replica_hashes_->pending() == step) replica_hashes_->finish();
  }
}

bool TrainingLoop::goes_back(StepRecord& record, RunLog* log) {
  const SpikeGuard::Verdict& verdict = spike_guard_.judge(record);
  if (is_non_finite(record, optimizer_.settings().scales_loss)) return meets_non_finite(record, log);
  if (!verdict.roll_back) return false;
  const std::string reason = verdict.spike;
  const std::int64_t step = record.step;
  const auto cursor = static_cast<std::uint64_t>(record.data_cursor);
  report(record, log);
  roll_back(step, cursor, reason, log);
  return true;
}

bool TrainingLoop::meets_non_finite(const StepRecord& finished, RunLog* log) {
  const StepRecord record = finished;  // finish_step writes over it
  const std::string& action = config_.non_finite.action;
  // The device halts for the norm alone: a step whose loss was not finite has updated the parameters.
  const bool halted = optimizer_.settings().halts && !std::isfinite(record.gradient_norm);
  const bool was_ahead = steps_in_flight_ > 0;
  const bool starts_over = was_ahead && halted;  // steps beyond this one were skipped: they are made again
  if (starts_over) {
    discard_steps();
    step_ = record.step;
    data_cursor_ = static_cast<std::uint64_t>(record.data_cursor);
  }
  if (starts_over || action != "skip") report(record, log);
  std::string reason = skip_reason(record);
  if (non_finite_reports_ < config_.non_finite.reports) {
    ++non_finite_reports_;
    const StepReplay replay{session_,          engine_, sampler_,
                            extra_pass_sums(), folder_, !halted && (was_ahead || !record.skipped)};
    const NonFiniteFinding finding = report_non_finite_step(replay, record);
    reason = finding.text;
    if (session_.is_first()) console_.line(fmt::format("step {}  {}", record.step, reason));
    if (log != nullptr) log->event("nonfinite", record.step, reason, finding.subject);
  }
  if (halted) optimizer_.resume_updates(engine_.stream());
  if (action == "roll_back")
    roll_back(record.step, static_cast<std::uint64_t>(record.data_cursor), reason, log);
  if (action == "stop") {
    while (steps_in_flight_ > 0) {  // nothing has held them back: they count
      StepRecord& later = finish_step();
      spike_guard_.judge(later);
      report(later, log);
    }
    save(log);
    outcome_.failure = fmt::format("step {}: {}; the run stops (non_finite.action)", record.step, reason);
  }
  return starts_over || action != "skip";
}

void TrainingLoop::save_start(RunLog* log) {
  if (config_.spikes.action != "roll_back" && config_.non_finite.action != "roll_back") return;
  const std::string found = session_.from_first([&] {
    const bool is_there =
        saved_step_ && std::filesystem::exists(folder_ / "checkpoints" / step_directory_name(*saved_step_));
    return std::string(is_there ? "yes" : "no");
  });
  if (found == "yes") return;
  saved_step_.reset();
  save(log);
}

void TrainingLoop::roll_back(std::int64_t step, std::uint64_t data_cursor, const std::string& reason,
                             RunLog* log) {
  discard_steps();  // they stand on the step that is undone
  if (optimizer_.settings().halts)
    optimizer_.resume_updates(engine_.stream());  // one of them may have halted
  step_ = step;
  data_cursor_ = data_cursor;
  std::optional<Checkpoint> latest;  // on rank 0, which chooses it
  const std::string path = session_.from_first([&] {
    latest = load_latest_checkpoint(folder_ / "checkpoints");
    if (!latest) fail_input("'{}' holds no checkpoint to go back to", (folder_ / "checkpoints").string());
    return latest->path.string();
  });
  if (roll_backs_ >= config_.spikes.roll_back_limit) {
    outcome_.failure = fmt::format(
        "step {}: {}; {} roll-back(s) to {} have not helped (spikes.roll_back_limit), so it is not the data; "
        "rolled_back.jsonl has what happened. Try a smaller learning rate, or go on from an earlier "
        "checkpoint",
        step, reason, roll_backs_, path);
    return;
  }
  const std::int64_t roll_backs = roll_backs_ + 1, reports = non_finite_reports_;
  const bool loaded = session_.all_succeed([&] {
    if (!latest) latest.emplace(load_checkpoint(path));
    resume(*latest);
  });
  latest.reset();  // of files that the next save may replace
  if (!loaded) {
    outcome_.failure = fmt::format("step {}: {}; the run cannot go back to {}, which not every rank can read",
                                   step, reason, path);
    return;
  }
  data_cursor_ = data_cursor;
  roll_backs_ = roll_backs;
  non_finite_reports_ = reports;
  const std::string text =
      fmt::format("step {}: {}: back to {}, roll-back {} of {}; data go on after sequence {}", step, reason,
                  std::filesystem::path(path).filename().string(), roll_backs, config_.spikes.roll_back_limit,
                  data_cursor);
  if (session_.is_first()) console_.line(text);
  if (log != nullptr) {
    log->roll_back(step_);
    log->event("roll_back", step_, text);
  }
  // Saved with the new place in the data: whoever resumes does not run into the spike again.
  saved_step_.reset();
  save(log);
}

}  // namespace plumb
