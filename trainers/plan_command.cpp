// plumb plan: what a run takes before it is started: memory of a rank, and the time of a step, for several
// numbers of ranks. docs/plan.md says how.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "calibration.h"
#include "commands.h"
#include "config/batch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "plan_report.h"
#include "session.h"
#include "step_recording.h"

namespace plumb {
namespace {

const std::vector<int> kRanks = {1, 2, 8, 64, 512, 4096};
/// Steps of which the simulation takes the mean.
constexpr int kSimulatedSteps = 8;

class Planner {
 public:
  /// `fabric`: the text of its file, if there is one.
  Planner(Session& session, const PlanOptions& options, const std::vector<ConfigSource>& sources,
          const std::string& fabric)
      : session_(session),
        options_(options),
        loaded_(load_config(sources, options.overrides, placement_presets())),
        share_(check_batch(loaded_, session.world())),
        task_(make_language_model_task(loaded_.config)) {
    const Config& config = loaded_.config;
    report_.process_base = resident_bytes();
    report_.threads = config.compute.threads > 0 ? config.compute.threads : session.default_thread_count();
    set_thread_count(report_.threads);
    if (!options.fabric.empty()) report_.fabric = parse_fabric(options.fabric, fabric);
    report_.ranks_per_host = options.ranks_per_host > 0 ? options.ranks_per_host
                             : report_.fabric           ? report_.fabric->ranks_per_host()
                                                        : session.communicator().local_size();
    report_.sequence_length = config.model.sequence_length;
    report_.micro_batch = share_.micro_batch;
  }

  /// How a rank's step goes. A collective.
  void time_steps() {
    if (!report_.fabric) return;
    const int ranks = std::max(2, session_.world());
    const PlannedRun run(local_config(ranks), task_, place(ranks));
    const double flops = run.flops_per_sequence() * static_cast<double>(share_.local_sequences);
    Computing& computing = report_.computing;
    if (options_.steps > 0 && !run.is_asynchronous()) {
      PlannedRank here = place(ranks);
      here.rank = session_.rank();
      const Calibration calibration = calibrate(session_, local_config(ranks), task_, here, options_.steps);
      script_ = calibration.script;
      computing.variation = calibration.variation;
      computing.source =
          fmt::format("{} steps, timed here on {} rank(s) at a time", options_.steps, session_.world());
    } else {
      const double seconds = options_.steps == 0
                                 ? flops / report_.fabric->flops_per_second
                                 : timed_step(loaded_, task_, share_.local_sequences, options_.steps);
      script_ = script_of(seconds, run.bucket_bytes(), ranks);
      script_.sequences = share_.local_sequences;
      computing.source = options_.steps == 0
                             ? "its FLOPs over the fabric's FLOP/s; collectives of gradients alone"
                             : "whole steps timed; a third taken as forward";
    }
    computing.seconds = script_.computing();
  }

  PlanReport report() {
    for (const int ranks : worlds()) report_.rows.push_back(row(ranks));
    return std::move(report_);
  }

 private:
  PlannedRank place(int ranks) const {
    return {.rank = 0, .world = ranks, .ranks_per_host = report_.ranks_per_host};
  }
  LoadedConfig local_config(int ranks) const {
    return with_local_sequences(loaded_, share_.local_sequences, ranks);
  }

  /// Of the numbers that nobody asked for, those that a global batch divides by.
  std::vector<int> worlds() const {
    if (!options_.ranks.empty()) return options_.ranks;
    std::vector<int> list;
    for (const int ranks : kRanks)
      if (!options_.strong || share_.global_sequences % ranks == 0) list.push_back(ranks);
    return list;
  }

  PlanRow row(int ranks) {
    const PlannedRun run(options_.strong ? loaded_ : local_config(ranks), task_, place(ranks));
    report_.parameters = run.parameters();
    report_.device = run.device();
    report_.flops = run.flops_per_sequence() * static_cast<double>(share_.local_sequences);
    const std::vector<double> buckets = run.bucket_bytes();
    report_.gradient_bytes = 0;
    for (const double bytes : buckets) report_.gradient_bytes += bytes;
    PlanRow row;
    row.ranks = ranks;
    row.hosts = (ranks + report_.ranks_per_host - 1) / report_.ranks_per_host;
    row.sequences = run.batch_share().global_sequences;
    row.memory = run.memory();
    row.log = run.log_bytes();
    if (!report_.fabric) return row;
    try {
      plan_step(row, run.batch_share().local_sequences);
    } catch (const InputError& error) {
      row.no_step = error.what();
    }
    return row;
  }

  SimulatedSteps simulate(int ranks, std::int64_t sequences) const {
    return simulate_steps(
        for_world(script_, ranks, sequences), {ranks, report_.ranks_per_host}, *report_.fabric,
        {.variation = report_.computing.variation, .seed = loaded_.config.training.seed}, kSimulatedSteps);
  }

  void plan_step(PlanRow& row, std::int64_t sequences) const {
    const Fabric& fabric = *report_.fabric;
    const auto tokens = static_cast<double>(row.sequences * report_.sequence_length);
    row.step = simulate(row.ranks, sequences);
    row.tokens_per_second = tokens / row.step->seconds;
    const double alone = static_cast<double>(share_.local_sequences * report_.sequence_length) /
                         simulate(1, share_.local_sequences).seconds;
    row.efficiency = row.tokens_per_second / row.ranks / alone;
    const bool is_measured = row.ranks == fabric.ranks && row.hosts == fabric.hosts;
    row.extrapolated =
        options_.steps == 0 || (row.ranks > 1 && !is_measured) || sequences != share_.local_sequences;
    double largest = -1;
    for (const ScriptedCollective& collective : script_.collectives) {
      if (collective.bytes <= largest) continue;
      largest = collective.bytes;
      row.algorithm =
          collective_time(collective.kind, collective.bytes, {row.ranks, report_.ranks_per_host}, fabric)
              .algorithm;
    }
  }

  Session& session_;
  const PlanOptions& options_;
  LoadedConfig loaded_;
  /// The configuration is for the launch that plans: without mpirun, for one rank.
  BatchShare share_;
  LanguageModelTask task_;
  PlanReport report_;
  StepScript script_;
};

}  // namespace

int run_plan(const PlanOptions& options) {
  Session session;
  std::vector<ConfigSource> sources;
  std::optional<Planner> planner;
  std::string fabric, text;
  if (!session.all_succeed([&] { sources = session.read_config(options.configs); })) return 2;
  const bool read = session.all_succeed([&] {
    if (!options.fabric.empty()) fabric = session.from_first([&] { return fabric_text(options.fabric); });
  });
  if (!read) return 2;
  if (!session.all_succeed([&] { planner.emplace(session, options, sources, fabric); })) return 2;
  if (!session.all_succeed([&] { planner->time_steps(); })) return 2;
  const bool planned = session.all_succeed([&] {
    if (!session.is_first()) return;
    const PlanReport report = planner->report();
    text = options.json ? plan_json(report) : plan_text(report);
  });
  if (!planned) return 2;
  fmt::print("{}", text);
  return 0;
}

}  // namespace plumb
