// plumb check: what a placement, its schedule and its depth will do, before a run is paid for. Predicts
// growth from the configuration, runs a probed pass at init over several seeds, compares, and judges by
// rules.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "backend/loader.h"
#include "backend_options.h"
#include "check_report.h"
#include "checkpointed_model.h"
#include "commands.h"
#include "config/batch.h"
#include "core/error.h"
#include "core/log.h"
#include "core/parallel_for.h"
#include "initial_pass.h"
#include "nn/knob.h"
#include "session.h"
#include "theory/operator_norm.h"

namespace plumb {
namespace {

/// The configuration as it is checked: ramps at their end, and every step sampled.
LoadedConfig settled(LoadedConfig loaded) {
  loaded.config.model = with_finished_ramps(loaded.config.model);
  loaded.config.log.stability_every = 1;
  return loaded;
}

bool has_ramps(const ResolvedModel& model) {
  for (const ResolvedSublayer& sublayer : model.sublayers) {
    const SublayerKnobs& knobs = sublayer.config.residual;
    for (const KnobConfig* knob : {&knobs.a, &knobs.b, &knobs.c, &knobs.e, &knobs.p}) {
      if (knob->time != "constant") return true;
    }
  }
  return false;
}

/// Everything that passes need besides the model's own configuration.
class Checker {
 public:
  Checker(Session& session, LoadedConfig loaded) : session_(session), loaded_(std::move(loaded)) {
    const Config& config = loaded_.config;
    set_thread_count(config.compute.threads > 0 ? config.compute.threads : session.default_thread_count());
    backend_ = make_backend(config.device, backend_options(config.compute, session.launch()));
    compute_ = resolve_compute_dtype(config.compute.dtype, *backend_);
  }

  InitialPass run(const ModelConfig& model, std::uint64_t seed, HostParameters* parameters = nullptr) const {
    LoadedConfig loaded = loaded_;
    loaded.config.model = model;
    loaded.config.training.seed = seed;
    LanguageModelTask task = make_language_model_task(loaded.config);
    task.validation = nullptr;
    return run_initial_pass(session_, {loaded, task, *backend_, compute_}, parameters);
  }

  const Config& config() const { return loaded_.config; }
  Backend& backend() const { return *backend_; }
  DType compute() const { return compute_; }

 private:
  Session& session_;
  LoadedConfig loaded_;
  std::unique_ptr<Backend> backend_;
  DType compute_ = DType::Float32;
};

/// One matrix that operator norms were taken of: the last sublayer's that writes to the stream.
NormTightness tightness_of(const ResolvedModel& model, const HostParameters& parameters) {
  for (auto sublayer = model.sublayers.rbegin(); sublayer != model.sublayers.rend(); ++sublayer) {
    if (norm_kind_of(sublayer->config.norm.out, model.config) != NormKind::None) continue;
    const char* suffix = sublayer->kind == "linear" ? ".matrix.weight"
                         : sublayer->kind == "ffn"  ? ".contract.weight"
                                                    : ".projection.weight";
    const HostParameter& weight = parameters.at(sublayer->name + suffix);
    const MatrixView view{weight.values, weight.rows(), weight.columns()};
    return {sublayer->name + suffix, operator_norm_bound(view), operator_norm_estimate(view)};
  }
  return {};
}

void take_bounds(CheckReport& report, const HostParameters& parameters) {
  const CoefficientTime time{.step = 0, .training = true};
  const bool single = report.model.other_streams().empty();
  const InitialPass& pass = report.passes.front();
  report.bound = stream_bound(report.model, bound_terms(report.model, parameters, time, single),
                              pass.max_row_norm.front(), true, rounding_allowance(report.compute));
  report.violations = violations(report.model, report.bound.bound, pass.max_row_norm, 0);
  if (single) report.tightness = tightness_of(report.model, parameters);
}

void take_head_room(CheckReport& report) {
  const InitialPass& mean = report.mean;
  std::vector<double> step_rms;
  for (std::size_t k = 0; k < mean.branch_rms.size(); ++k) {
    const ResolvedSublayer& sublayer = report.model.sublayers[k];
    const double step = knob_start(sublayer.config.residual.b, sublayer.position, report.model.width());
    step_rms.push_back(std::abs(step) * mean.branch_rms[k]);
  }
  const auto room = [&](DType dtype) {
    return head_room(dtype, report.growth, mean.variance, mean.max_abs, mean.rms, step_rms);
  };
  report.fp16 = room(DType::Float16);
  report.bf16 = room(DType::BFloat16);
  report.own = room(report.compute);
}

std::vector<CheckedStep> checked_steps(const Checker& checker, const PredictionStart& start) {
  std::vector<CheckedStep> list;
  for (StepRow& row : step_table(checker.config().model, start)) {
    CheckedStep step;
    step.pass = checker.run(with_constant_step(checker.config().model, row.choice.step),
                            checker.config().training.seed);
    step.growth = classify_growth(step.pass.variance);
    step.row = std::move(row);
    list.push_back(std::move(step));
  }
  return list;
}

CheckReport make_report(Session& session, const CheckOptions& options) {
  const LoadedConfig loaded =
      load_config(session.read_config(options.configs), options.overrides, placement_presets());
  for (const std::string& warning : loaded.warnings) log_warning("{}", warning);
  const Checker checker(session, settled(loaded));
  const Config& config = checker.config();
  CheckReport report;
  report.config = fmt::format("{}", fmt::join(options.configs, " "));
  report.backend = checker.backend().name();
  report.compute = checker.compute();
  report.sequences = check_batch(loaded, 1).global_sequences;
  report.description = describe_configuration(loaded.config);
  report.ends_ramps = has_ramps(resolve_model(loaded.config.model));
  report.model = resolve_model(config.model);
  HostParameters parameters;
  for (std::int64_t i = 0; i < options.seeds; ++i) {
    report.seeds.push_back(config.training.seed + static_cast<std::uint64_t>(i));
    report.passes.push_back(checker.run(config.model, report.seeds.back(), i == 0 ? &parameters : nullptr));
  }
  report.mean = mean_of(report.passes);
  report.growth = classify_growth(report.mean.variance);
  const PredictionStart start{.variance = {},
                              .similarity = report.mean.similarity,
                              .gradient_similarity = report.mean.gradient_similarity,
                              .training = true};
  report.prediction = predict_depth(report.model, start);
  take_bounds(report, parameters);
  take_head_room(report);
  report.steps = checked_steps(checker, start);
  report.judgement = judge(facts_of(report));
  return report;
}

}  // namespace

int run_check(const CheckOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb check")) return 2;
  try {
    const CheckReport report = make_report(session, options);
    fmt::print("{}", options.json ? check_json(report) : check_text(report));
    return report.judgement.verdict == Verdict::Pathological ? 1 : 0;
  } catch (const std::exception& error) {
    log_error("{}", error.what());
    return 2;
  }
}

}  // namespace plumb
