#include "calibration.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>
#include <vector>

#include "backend/observed_backend.h"
#include "backend_options.h"
#include "checkpointed_model.h"
#include "core/error.h"
#include "step_recording.h"
#include "trace/trace_recorder.h"

namespace plumb {
namespace {

/// Libraries choose and allocate in the first two steps.
constexpr int kWarmUp = 2;

std::unique_ptr<Backend> real_backend(const Config& config, const Launch& launch) {
  return make_backend(config.device, backend_options(config.compute, launch));
}

/// The events of each step, in order.
std::vector<std::vector<TraceEvent>> by_step(const std::vector<TraceEvent>& events, std::int64_t first,
                                             int steps) {
  std::vector<std::vector<TraceEvent>> lists(static_cast<std::size_t>(steps));
  for (const TraceEvent& event : events) {
    if (event.step >= first && event.kind != TraceKind::Op)
      lists[static_cast<std::size_t>(event.step - first)].push_back(event);
  }
  return lists;
}

/// The timed steps of this rank.
std::vector<StepScript> record_steps(const LoadedConfig& loaded, const LanguageModelTask& task,
                                     const PlannedRank& world, Session& planned, int steps) {
  const Config& config = loaded.config;
  const auto backend = real_backend(config, planned.launch());
  if (backend->is_asynchronous()) fail_input("the parts of a step on {} are not timed", backend->name());
  TraceRecorder recorder(*backend);
  ObservedBackend observed(*backend, recorder);
  planned.communicator().observe(&recorder);
  const BatchShare share = check_batch(loaded, world.world);
  std::int64_t end = 0;
  {
    TrainingLoop loop(planned, loaded, share, task, observed,
                      resolve_compute_dtype(config.compute.dtype, *backend));
    loop.start();
    for (int step = 0; step < kWarmUp; ++step) loop.single_step();
    recorder.start();
    for (int step = 0; step < steps; ++step) {
      recorder.set_step(step);
      loop.single_step();
    }
    end = TraceRecorder::now();
    recorder.stop();
  }
  planned.communicator().observe(nullptr);
  if (recorder.left_out() > 0) fail_input("{} steps have more spans than a trace holds: time fewer", steps);
  const auto lists = by_step(recorder.events(), 0, steps);
  std::vector<StepScript> scripts;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    scripts.push_back(
        script_of(lists[i], i + 1 < lists.size() ? lists[i + 1].front().begin : end, world.world));
    scripts.back().sequences = share.local_sequences;
    scripts.back().sharded = config.optimizer.sharded;
  }
  return scripts;
}

/// Steps at which more is written than at others have other collectives: those of the last one's kind stay.
std::vector<StepScript> alike(const std::vector<StepScript>& scripts) {
  std::vector<StepScript> list;
  for (const StepScript& script : scripts)
    if (script.points.size() == scripts.back().points.size()) list.push_back(script);
  return list;
}

/// The mean over ranks of each of the values. A collective.
void average(Session& session, std::vector<double>& values) {
  session.communicator().all_reduce(
      "calibration", Tensor(values.data(), DType::Float64, {static_cast<std::int64_t>(values.size())}),
      ReduceOp::Sum);
  for (double& value : values) value /= session.world();
}

}  // namespace

Calibration calibrate(Session& session, const LoadedConfig& loaded, const LanguageModelTask& task,
                      const PlannedRank& world, int steps) {
  const auto planned = planned_session(world, sum_path(loaded.config.communication).rounding);
  std::vector<StepScript> scripts;
  session.communicator().barrier("calibration begins");
  scripts = alike(record_steps(loaded, task, world, *planned, steps));
  Calibration calibration;
  calibration.script = mean_script(scripts, &calibration.variation);

  std::vector<double> times;
  for (const ScriptPoint& point : calibration.script.points)
    times.insert(times.end(), point.seconds.begin(), point.seconds.end());
  average(session, times);
  for (std::size_t i = 0; i < times.size(); ++i)
    calibration.script.points[i / kWorks].seconds[i % kWorks] = times[i];

  const double mean = calibration.script.computing();
  std::vector<double> squares = {0};
  for (const StepScript& script : scripts)
    squares[0] += std::pow(script.computing() / mean - 1, 2) / static_cast<double>(scripts.size());
  average(session, squares);
  const double count = static_cast<double>(scripts.size()) * session.world();
  calibration.variation = count > 1 ? std::sqrt(squares[0] * count / (count - 1)) : 0;
  return calibration;
}

double timed_step(const LoadedConfig& loaded, const LanguageModelTask& task, std::int64_t local_sequences,
                  int steps) {
  using Clock = std::chrono::steady_clock;
  const LoadedConfig alone = with_local_sequences(loaded, local_sequences, 1);
  const auto session = planned_session({}, false);
  const auto backend = real_backend(alone.config, session->launch());
  TrainingLoop loop(*session, alone, check_batch(alone, 1), task, *backend,
                    resolve_compute_dtype(alone.config.compute.dtype, *backend));
  loop.start();
  std::vector<double> seconds;
  for (int step = 0; step < kWarmUp + steps; ++step) {
    const auto begin = Clock::now();
    loop.single_step();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::sort(seconds.begin() + kWarmUp, seconds.end());
  return seconds[static_cast<std::size_t>(kWarmUp) + static_cast<std::size_t>(steps) / 2];
}

}  // namespace plumb
