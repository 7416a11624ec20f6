#include "training_loop.h"

#include <span>

#include "bound_events.h"
#include "core/error.h"
#include "model_state.h"
#include "nn/admin_profile.h"
#include "optim/depth_scaling.h"
#include "optimizer_state.h"
#include "signals.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ModelShape model_shape(const Config& config, const BatchShare& share, DType compute, int world) {
  return {.batch = share.micro_batch,
          .tokens = config.model.sequence_length,
          .compute = compute,
          .shards = config.optimizer.sharded ? world : 1,
          .recompute = recompute_from_name(config.compute.recompute)};
}

OptimizerSettings optimizer_settings(const Config& config, DType compute) {
  const OptimizerConfig& optimizer = config.optimizer;
  return {.kind = optimizer_kind_from_name(optimizer.kind),
          .beta1 = optimizer.beta1,
          .beta2 = optimizer.beta2,
          .epsilon = optimizer.epsilon,
          .momentum = optimizer.momentum,
          .weight_decay = optimizer.weight_decay,
          .clip_norm = optimizer.clip_norm,
          .guard = guard_rules(config.spikes),
          .halts = compute != DType::Float16 && config.non_finite.reports > 0,
          .scales_loss = compute == DType::Float16,
          .initial_loss_scale = config.loss_scale.initial,
          .loss_scale_interval = config.loss_scale.growth_interval,
          .hidden_matrix = optimizer_factors(config, ParameterRole::HiddenMatrix),
          .hidden_vector = optimizer_factors(config, ParameterRole::HiddenVector)};
}

LearningRate learning_rate_schedule(const Config& config) {
  return {.kind = learning_rate_kind_from_name(config.learning_rate.kind),
          .peak = config.optimizer.learning_rate,
          .warmup_steps = config.learning_rate.warmup_steps,
          .total_steps = config.training.steps,
          .final_ratio = config.learning_rate.final_ratio,
          .decay_fraction = config.learning_rate.decay_fraction};
}

/// Over one rank a reduction does nothing, whatever the memory.
std::unique_ptr<Communicator> device_communicator(Session& session, Engine& engine) {
  if (session.world() == 1) return nullptr;
  return engine.backend().make_communicator(session.communicator(), engine.stream());
}

/// Memory in which gradients cross ranks in bf16; none over one rank, and none where the communicator rounds.
Buffer wire_buffer(const Config& config, const Session& session, Engine& engine) {
  if (config.communication.gradient_dtype == "fp32") return {};
  Backend& backend = engine.backend();
  if (!backend.has_communicator()) {
    if (engine.parameters().flat_gradient().dtype == DType::Float64) {
      fail_input(
          "communication.gradient_dtype = \"bf16\" rounds gradients of fp32, and those of compute.dtype = "
          "\"fp64\" are fp64: leave it at \"fp32\"");
    }
    return {};
  }
  if (session.world() == 1) return {};
  const auto elements = static_cast<std::size_t>(engine.parameters().flat_gradient().elements());
  return backend.allocate_for_communication(elements * size_of(DType::BFloat16));
}

std::vector<Tensor> gradient_tensors(const ParameterStore& store) {
  std::vector<Tensor> list;
  for (const Parameter* parameter : store.trainable()) list.push_back(parameter->gradient);
  return list;
}

}  // namespace

TrainingLoop::TrainingLoop(Session& session, const LoadedConfig& loaded, const BatchShare& batch_share,
                           const LanguageModelTask& task, Backend& backend, DType compute)
    : session_(session),
      loaded_(loaded),
      config_(loaded.config),
      task_(task),
      engine_(config_.model, task.vocabulary, model_shape(config_, batch_share, compute, session.world()),
              config_.training.seed, backend),
      sampler_(*task.train, {.rank = session.rank(),
                             .world = session.world(),
                             .micro_steps = batch_share.accumulation,
                             .micro_batch_rows = batch_share.micro_batch}),
      batch_(sampler_.make_batch()),
      wire_(wire_buffer(config_, session, engine_)),
      device_communicator_(device_communicator(session, engine_)),
      shards_(shards()),
      optimizer_(optimizer_settings(config_, compute), engine_.parameters(), backend,
                 {.shards = shards_ ? &*shards_ : nullptr, .communicator = &tensor_communicator()}),
      statistics_(statistics_shape(engine_), statistics_settings(config_), backend, session.communicator()),
      gradients_(gradient_tensors(engine_.parameters())),
      gradient_workspace_(session.world() > 1
                              ? backend.allocate(backend.elementwise().sum_of_squares_workspace(gradients_))
                              : Buffer()),
      reducer_(tensor_communicator(), gradient_layout(), engine_.parameters().flat_gradient(),
               before_reduce(), gradient_wire()),
      listener_(reducer_),
      learning_rate_(learning_rate_schedule(config_)),
      bound_watch_(config_.model, norm_names(), compute),
      rank_alarms_(*statistics_.record_layout(),
                   {.tensors = tensor_names(), .hosts = session.communicator().hosts()}),
      spike_guard_(config_.spikes, optimizer_.settings().scales_loss),
      parts_(backend, engine_.stream(), config_.compute.captured_steps) {
  engine_.set_loss_scale(optimizer_.loss_scale());
  if (session.world() > 1 && config_.alarms.ranks) run_queue_delay_ = std::make_unique<RunQueueDelay>();
  if (session.world() > 1 && config_.alarms.replicas_every > 0) {
    std::vector<NamedTensor> replicated = parameter_tensors(engine_.parameters());
    for (NamedTensor& tensor : replicated_state(optimizer_)) replicated.push_back(std::move(tensor));
    std::vector<Tensor> tensors;
    std::vector<std::string> names;
    for (const NamedTensor& tensor : replicated) {
      tensors.push_back(tensor.tensor);
      names.push_back(tensor.name);
    }
    rank_alarms_.name_replicas(std::move(names));
    replica_hashes_ = std::make_unique<ReplicaHashes>(std::move(tensors), backend, session.communicator());
  }
  if (optimizer_.settings().guard.skip_sigmas > 0)
    rank_losses_ = backend.allocate(static_cast<std::size_t>(session.world()) * sizeof(double));
  if (config_.sharpness.every > 0) {
    sharpness_ =
        std::make_unique<Sharpness>(backend, engine_.stream(), engine_.parameters(), config_.training.seed);
  }
  if (sharpness_ || config_.non_finite.reports > 0)
    extra_pass_sums_ = backend.allocate(kHeadLossSums * sizeof(double));
  if (task.validation)
    evaluator_ = std::make_unique<Evaluator>(engine_, task.validation, session.communicator());
}

std::vector<MemoryShare> TrainingLoop::memory_plan() const {
  std::vector<MemoryShare> shares = engine_.memory_plan();
  shares.push_back({"optimiser", optimizer_.bytes()});
  shares.push_back({"statistics", statistics_.bytes() + gradient_workspace_.bytes() + rank_losses_.bytes() +
                                      extra_pass_sums_.bytes() +
                                      (replica_hashes_ ? replica_hashes_->bytes() : 0)});
  if (evaluator_) shares.push_back({"validation", evaluator_->bytes()});
  if (wire_.bytes() > 0) shares.push_back({"gradients on the wire", wire_.bytes()});
  if (sharpness_) shares.push_back({"sharpness", sharpness_->bytes()});
  return shares;
}

RunLogSettings TrainingLoop::log_settings() const {
  return {.layout = statistics_.record_layout(),
          .tensor_names = tensor_names(),
          .norm_names = norm_names(),
          .sublayer_names = sublayer_names(),
          .ranks_every = config_.log.ranks_every};
}

std::vector<std::string> TrainingLoop::tensor_names() const {
  std::vector<std::string> names;
  for (const Parameter* parameter : engine_.parameters().trainable()) names.push_back(parameter->name);
  return names;
}

std::vector<std::string> TrainingLoop::norm_names() const {
  std::vector<std::string> names;
  for (const NormParameters& norm : engine_.parameters().norms()) names.push_back(norm.name);
  return names;
}

std::vector<std::string> TrainingLoop::sublayer_names() const {
  std::vector<std::string> names;
  for (std::int64_t k = 0; k < engine_.model().sublayers(); ++k)
    names.push_back(engine_.model().sublayer(k).name());
  return names;
}

void TrainingLoop::start() {
  engine_.initialize();
  if (config_.model.init.profile != "admin") return;
  engine_.begin_step(0);
  profile_admin_skips(engine_,
                      {.count = sampler_.partition().micro_steps,
                       .load =
                           [this](std::int64_t micro_step) {
                             sampler_.fill(data_cursor_, micro_step, batch_);
                             engine_.upload_batch(batch_.inputs, batch_.targets, batch_.first_sequence);
                           },
                       .sum_over_ranks =
                           [this](std::span<double> sums) {
                             const Tensor tensor(sums.data(), DType::Float64,
                                                 {static_cast<std::int64_t>(sums.size())});
                             session_.communicator().all_reduce("admin profile", tensor, ReduceOp::Sum);
                           }});
}

Cadence TrainingLoop::cadence_of(std::int64_t step) const {
  const std::int64_t every = config_.log.stability_every, detail = config_.statistics.detail_every;
  if (every == 0 || (step != 1 && step % every != 0)) return Cadence::EveryStep;
  return detail > 0 && (step == 1 || step / every % detail == 0) ? Cadence::Detailed : Cadence::Sampled;
}

void TrainingLoop::trace_with(RunTrace& trace) {
  trace_ = &trace;
  if (device_communicator_) device_communicator_->observe(&trace.recorder());
}

void TrainingLoop::begin_step_clock() {
  step_started_ = Clock::now();
  if (run_queue_delay_) run_queue_delay_->resume();
}

void TrainingLoop::issue_step() {
  if (trace_ != nullptr) trace_->before_step(step_ + 1);
  if (steps_in_flight_ == 0) begin_step_clock();
  const PhaseRange range(engine_.backend(), "step");
  Stream& stream = engine_.stream();
  const Cadence cadence = cadence_of(step_ + 1);
  const std::int64_t micro_steps = sampler_.partition().micro_steps;
  const double gradient_scale = 1 / static_cast<double>(sampler_.targets_per_step());

  {
    const PhaseRange begin(engine_.backend(), "begin step");
    statistics_.begin_step(stream, cadence);
    engine_.begin_step(step_);
    optimizer_.begin_step(stream, step_, learning_rate_at(learning_rate_, step_));
    if (sharpness_ && (step_ + 1) % config_.sharpness.every == 0) sharpness_->keep_start();
    // Of several micro-batches the later ones add, and all may be one recording.
    if (micro_steps == 1) {
      engine_.renew_gradients();
    } else {
      engine_.zero_gradients();
    }
    engine_.probe_norms(statistics_.probes());
  }
  for (std::int64_t micro_step = 0; micro_step < micro_steps; ++micro_step) {
    {
      const PhaseRange data(engine_.backend(), "data");
      sampler_.fill(data_cursor_, micro_step, batch_);
    }
    engine_.upload_batch(batch_.inputs, batch_.targets, batch_.first_sequence);
    if (micro_step + 1 == micro_steps) {
      finish_gradients_and_update(gradient_scale, cadence);
    } else {
      parts_.run(StepParts::kAccumulate, cadence,
                 [&] { engine_.forward_and_backward(statistics_.probes(), gradient_scale, nullptr); });
    }
  }

  step_ += 1;
  data_cursor_ += static_cast<std::uint64_t>(sampler_.sequences_per_step());
  steps_in_flight_ += 1;
  const std::int64_t tokens_per_step = sampler_.targets_per_step();
  const std::int64_t tokens_per_sequence = tokens_per_step / sampler_.sequences_per_step();
  statistics_.read_step(
      stream, {.step = step_,
               .tokens = static_cast<std::int64_t>(data_cursor_) * tokens_per_sequence,
               .step_tokens = tokens_per_step,
               .sequences = sampler_.sequences_per_step() / session_.world(),
               .data_cursor = static_cast<std::int64_t>(data_cursor_),
               .step_scalars = optimizer_.step_scalars(),
               .reduced_gradient_squares = optimizer_.gradient_squares(),
               .update_squares = optimizer_.update_squares(),
               .parameter_squares = optimizer_.parameter_squares(),
               .lag_squares = optimizer_.lag_squares(),
               .eps_dominated = optimizer_.eps_dominated(),
               .local_gradient_squares = session_.world() == 1 ? optimizer_.gradient_squares() : Tensor()});
  if (!shards_) compare_replicas(step_);
}

StepRecord& TrainingLoop::single_step() {
  issue_step();
  StepRecord& record = finish_step();
  spike_guard_.judge(record);
  if (optimizer_.settings().halts && record.skipped) optimizer_.resume_updates(engine_.stream());
  return record;
}

StepRecord& TrainingLoop::take_record() {
  {
    const PhaseRange range(engine_.backend(), "wait for the step");
    statistics_.wait_for_step();
  }
  const PhaseRange range(engine_.backend(), "statistics");
  StepRecord& record = statistics_.finish_step(
      engine_.stream(), {.step_seconds = seconds_since(step_started_),
                         .wait_seconds = reducer_.take_wait_seconds(),
                         .preempted_seconds = run_queue_delay_ ? run_queue_delay_->take() : 0,
                         .stop_requested = stop_signal() != 0});
  steps_in_flight_ -= 1;
  begin_step_clock();
  return record;
}

StepRecord& TrainingLoop::finish_step() {
  StepRecord& record = take_record();
  watch_ranks(record);
  bound_violations_ = check_bounds(bound_watch_, record);
  check_loss_scale(record);
  return record;
}

void TrainingLoop::watch_ranks(const StepRecord& record) {
  if (config_.alarms.ranks) rank_alarms_.observe(record, statistics_.sources());
  if (replica_hashes_ && replica_hashes_->pending() == record.step)
    rank_alarms_.compare(record.step, replica_hashes_->finish());
}

void TrainingLoop::check_loss_scale(const StepRecord& record) const {
  if (!optimizer_.settings().scales_loss || record.next_loss_scale >= config_.loss_scale.floor) return;
  fail(
      "step {}: the loss scale has fallen to {}, below loss_scale.floor = {}: every scale overflows fp16, so "
      "it "
      "is activations that do; profiles.*.overflows in stability.jsonl says in which sublayer. Train in "
      "bf16, "
      "or with a placement whose stream does not grow",
      record.step, record.next_loss_scale, config_.loss_scale.floor);
}

TrainingOutcome TrainingLoop::run(RunLog* log, const std::filesystem::path& folder) {
  const Clock::time_point started = Clock::now();
  folder_ = folder;
  // Where the device runs behind the host, the host looks at a step only when the next one has been issued.
  const bool runs_ahead = engine_.backend().is_asynchronous();
  bool stop = false;
  save_start(log);
  while (step_ < config_.training.steps && !stop && outcome_.failure.empty()) {
    issue_step();
    bool went_back = false;
    while (steps_in_flight_ > 1) {
      StepRecord& earlier = finish_step();
      stop = stop || earlier.stop_requested;
      went_back = goes_back(earlier, log);
      if (!went_back) report(earlier, log);
    }
    if (went_back) {
      if (stop && outcome_.failure.empty()) save(log);
      continue;
    }
    const bool end = step_ == config_.training.steps;
    const bool validates =
        evaluator_ && (due(config_.validation.every) || (end && config_.validation.at_end));
    const bool saves = due(config_.checkpoint.every) || (end && config_.checkpoint.at_end);
    const bool measures = sharpness_ && due(config_.sharpness.every);
    if (runs_ahead && !(stop || end || validates || saves || measures)) continue;

    StepRecord& record = finish_step();
    stop = stop || record.stop_requested;
    if (goes_back(record, log)) {
      if (stop && outcome_.failure.empty()) save(log);
      continue;
    }
    if (stop) save(log);  // first of all: whoever asked may not wait for a validation
    if (measures) measure_sharpness(record);
    if (validates) validate(&record);
    report(record, log);
    if (!saves) continue;
    roll_backs_ = 0;
    save(log);
  }
  end_run(stop, log);
  outcome_.seconds = seconds_since(started);
  return outcome_;
}

}  // namespace plumb
