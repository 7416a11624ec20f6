// plumb train: from the command line to a TrainingLoop, and the summary at the end.
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "backend/loader.h"
#include "backend_options.h"
#include "checkpoint/atomic_directory.h"
#include "checkpointed_model.h"
#include "comm/rank_checks.h"
#include "commands.h"
#include "config/batch.h"
#include "config/changes.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/log.h"
#include "core/parallel_for.h"
#include "export/tensorboard_log.h"
#include "model_state.h"
#include "run_trace.h"
#include "session.h"
#include "signals.h"
#include "training_loop.h"
#include "version.h"

namespace plumb {
namespace {

/// Everything that is made before the first step; each rank makes its own.
struct Setup {
  LoadedConfig loaded;
  BatchShare share;
  std::filesystem::path folder;
  LanguageModelTask task;
  std::unique_ptr<Backend> backend;
  DType compute = DType::Float32;
  int threads = 1;
  std::optional<Checkpoint> checkpoint;
  std::unique_ptr<RunTrace> trace;  ///< null: none is asked for
  std::unique_ptr<TrainingLoop> loop;
  ModelHash model_hash;
  std::unique_ptr<RunLog> log;  ///< rank 0 only
};

std::filesystem::path run_folder(const RunConfig& run) {
  return run.dir.empty() ? std::filesystem::path("runs") / run.name : std::filesystem::path(run.dir);
}

/// The checkpoint to go on from, if any; "auto" with no checkpoint starts from the beginning. Rank 0 chooses,
/// so that ranks whose file systems differ cannot go on from different steps.
std::optional<Checkpoint> open_checkpoint(Session& session, const std::string& resume,
                                          const std::filesystem::path& folder) {
  if (resume.empty()) return std::nullopt;
  std::optional<Checkpoint> checkpoint;
  const std::string chosen = session.from_first([&] {
    checkpoint =
        resume == "auto" ? load_latest_checkpoint(folder / "checkpoints") : load_checkpoint_at(resume);
    return checkpoint ? checkpoint->path.string() : std::string();
  });
  if (!checkpoint && !chosen.empty()) checkpoint = load_checkpoint(chosen);
  return checkpoint;
}

/// Whether the checkpoint is one of the run in `folder` itself; only then do its logs and later checkpoints
/// belong to what is resumed.
bool is_own_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& folder) {
  std::error_code error;
  return std::filesystem::equivalent(std::filesystem::absolute(checkpoint.path).parent_path(),
                                     folder / "checkpoints", error);
}

std::string run_manifest(const Setup& setup, Session& session) {
  const DeviceFacts facts = setup.backend->facts();
  nlohmann::ordered_json json;
  json["plumb_version"] = version_number();
  json["git_revision"] = git_revision();
  json["build"] = build_description();
  json["world"] = session.world();
  json["hosts"] = session.communicator().hosts();
  json["launcher"] = session.launch().launcher_name();
  json["threads_per_rank"] = setup.threads;
  json["backend"] = setup.backend->name();
  json["device"] = facts.name;
  json["device_features"] = facts.features;
  json["compute_dtype"] = name_of(setup.compute);
  json["seed"] = setup.loaded.config.training.seed;
  json["parameters"] = setup.loop->engine().parameters().trainable_elements();
  for (const MemoryShare& share : setup.loop->memory_plan())
    json["memory"]["planned"][share.name] = share.bytes;
  json["memory"]["allocated"] = setup.backend->memory_use().bytes;
  json["memory"]["device_in_use"] = setup.backend->device_bytes_in_use();
  return json.dump(2) + "\n";
}

void prepare(Setup& setup, Session& session, const TrainOptions& options,
             const std::vector<ConfigSource>& sources) {
  setup.loaded = load_config(sources, options.overrides, placement_presets());
  const Config& config = setup.loaded.config;
  if (!options.trace.empty())
    static_cast<void>(trace_steps(options.trace));  // wrong: said before anything else
  if (config.log.tensorboard) require_tensorboard();
  setup.share = check_batch(setup.loaded, session.world());
  setup.folder = run_folder(config.run);
  setup.task = make_language_model_task(config);
  setup.threads = config.compute.threads > 0 ? config.compute.threads : session.default_thread_count();
  set_thread_count(setup.threads);
  BackendOptions backend = backend_options(config.compute, session.launch());
  backend.communicator = &session.communicator();
  setup.backend = make_backend(config.device, backend);
  setup.compute = resolve_compute_dtype(config.compute.dtype, *setup.backend);
  // Before any rank looks for a checkpoint: all of them meet between prepare and build.
  if (session.is_first() && !options.resume.empty()) {
    for (const std::string& action : clean_atomic_leftovers(setup.folder / "checkpoints"))
      log_info("{}", action);
  }
}

/// "NCCL_ALGO=Ring" and its like, of this process.
std::vector<std::string> nccl_settings() {
  std::vector<std::string> settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::string_view(*entry).starts_with("NCCL_")) settings.emplace_back(*entry);
  }
  return settings;
}

/// A collective. `identity`: empty where ranks do not use NCCL.
void check_devices(Session& session, const std::string& identity) {
  check_devices_differ(session.communicator(), identity);
  const auto own = identity.empty() ? std::vector<std::string>() : nccl_settings();
  const std::vector<std::string> notes = check_settings_agree(session.communicator(), own);
  if (!session.is_first()) return;
  for (const std::string& note : notes) log_warning("{}", note);
}

/// What one rank alone may fail at before all of them build, which allocates memory that ranks share.
void meet(Setup& setup, Session& session, const TrainOptions& options) {
  const CommunicationConfig& communication = setup.loaded.config.communication;
  session.communicator().set_deadline(communication.timeout_seconds);
  // A device has a communicator of its own for gradients.
  if (!setup.backend->has_communicator()) session.choose_sum_path(sum_path(communication));
  setup.checkpoint = open_checkpoint(session, options.resume, setup.folder);
}

void build(Setup& setup, Session& session, const TrainOptions& options) {
  if (!options.trace.empty()) {
    setup.trace = std::make_unique<RunTrace>(session, *setup.backend, trace_steps(options.trace));
  }
  setup.loop =
      std::make_unique<TrainingLoop>(session, setup.loaded, setup.share, setup.task,
                                     setup.trace ? setup.trace->backend() : *setup.backend, setup.compute);
  if (setup.trace) setup.loop->trace_with(*setup.trace);
  if (setup.checkpoint) {
    setup.loop->resume(*setup.checkpoint);
  } else {
    setup.loop->start();
  }
  Engine& engine = setup.loop->engine();
  setup.model_hash = model_hash(engine.backend(), engine.stream(), engine.parameters());
}

/// Removes the future that a roll-back abandons, before the logs are cut: were it the other way round, a
/// crash in between would leave a checkpoint whose steps are in no log.
std::vector<std::string> abandon_later_checkpoints(const std::filesystem::path& folder, std::int64_t step) {
  std::vector<std::string> removed;
  for (const std::filesystem::path& path : remove_checkpoints_beyond(folder / "checkpoints", step)) {
    removed.push_back(
        fmt::format("removed {}, which lies beyond step {}, where the run goes on", path.string(), step));
    log_warning("{}", removed.back());
  }
  return removed;
}

std::vector<std::string> changes_since(const Checkpoint& checkpoint, const Config& config) {
  const std::string name = (checkpoint.path / "manifest.json").string();
  const std::vector<ConfigSource> source = {{name, checkpoint.manifest.config_text}};
  return changed_settings(load_config(source, {}, placement_presets()).config, config);
}

/// Takes the run folder, on rank 0 once every rank has built its part. The logs of a run are only continued
/// from one of its own checkpoints; any other start needs an empty folder or run.overwrite.
void open_folder(Setup& setup, Session& session, const TrainOptions& options) {
  if (!session.is_first()) return;
  RunLogSettings settings = setup.loop->log_settings();
  RunDirectoryOptions directory;
  directory.overwrite = setup.loaded.config.run.overwrite;
  directory.restart_empty = options.resume == "auto";
  // Whatever can be wrong is found before anything on the disk is changed.
  std::vector<std::string> changes, abandoned;
  if (setup.checkpoint) changes = changes_since(*setup.checkpoint, setup.loaded.config);
  if (setup.checkpoint && is_own_checkpoint(*setup.checkpoint, setup.folder)) {
    check_log_header(setup.folder, settings);
    abandoned = abandon_later_checkpoints(setup.folder, setup.loop->step());
    directory.resume_step = setup.loop->step();
  }
  open_run_directory(setup.folder, directory, dump_config(setup.loaded), run_manifest(setup, session));
  const std::int64_t step = setup.loop->step();
  if (setup.loaded.config.log.tensorboard) {
    const auto first_step = directory.resume_step ? std::optional(step + 1) : std::nullopt;
    settings.also =
        std::make_shared<TensorboardLog>(setup.folder / "tensorboard", first_step, *settings.layout);
  }
  setup.log = std::make_unique<RunLog>(setup.folder, settings);
  if (setup.checkpoint) setup.log->event("resume", step, setup.checkpoint->path.string());
  for (const std::string& line : abandoned) setup.log->event("checkpoint_removed", step, line);
  for (const std::string& change : changes) {
    log_warning("resumed with another configuration: {}", change);
    setup.log->event("configuration_change", step, change);
  }
}

void announce(Setup& setup, Session& session) {
  if (!session.is_first()) return;
  for (const std::string& warning : setup.loaded.warnings) log_warning("{}", warning);
  const Config& config = setup.loaded.config;
  const ModelConfig& model = config.model;
  fmt::print("plumb {}: {} blocks, width {}, {} heads, placement {}, {:.2f} M parameters, {} on {}\n",
             version_number(), model.blocks, model.width, model.heads, model.placement,
             static_cast<double>(setup.loop->engine().parameters().trainable_elements()) / 1e6,
             name_of(setup.compute), setup.backend->name());
  fmt::print(
      "{} rank(s) x {} thread(s); {} sequences of {} tokens a step = {} rank(s) x {} micro-batch(es) x {}\n",
      session.world(), setup.threads, setup.share.global_sequences, model.sequence_length, session.world(),
      setup.share.accumulation, setup.share.micro_batch);
  if (const auto optimum = setup.task.train->optimal_loss()) {
    fmt::print("this task's optimal loss is {:.4f} nats per target\n", *optimum);
  }
  fmt::print("run folder {}{}\n", setup.folder.string(),
             setup.checkpoint ? fmt::format(", going on after step {} of {}", setup.loop->step(),
                                            setup.checkpoint->path.string())
                              : "");
  if (setup.loop->step() >= config.training.steps) {
    log_warning("nothing is left to train: the checkpoint has {} steps, training.steps = {}",
                setup.loop->step(), config.training.steps);
  }
  std::fflush(stdout);
}

void summarize(const Setup& setup, const TrainingOutcome& outcome) {
  fmt::print("{} {} steps in {}\n",
             outcome.signal != 0 || !outcome.failure.empty() ? "stopped after" : "done:", outcome.steps,
             format_duration(outcome.seconds));
  if (outcome.validation) {
    const double bits = bits_per_byte(outcome.validation->loss, setup.task.bytes_per_target);
    const bool whole = outcome.validation->targets == setup.task.validation->total_targets();
    fmt::print("validation loss {:.4f} nats per target over {} targets ({})\n", outcome.validation->loss,
               outcome.validation->targets, whole ? "the whole split" : "a part of the split");
    if (bits == bits) fmt::print("validation bits per byte {:.4f}\n", bits);
  }
}

}  // namespace

int run_train(const TrainOptions& options) {
  install_stop_signals();
  Session session;
  Setup setup;
  std::vector<ConfigSource> sources;
  if (!session.all_succeed([&] { sources = session.read_config(options.configs); })) return 2;
  if (!session.all_succeed([&] { prepare(setup, session, options, sources); })) return 2;
  if (!session.all_succeed([&] { check_devices(session, setup.backend->facts().identity); })) return 2;
  if (!session.all_succeed([&] { meet(setup, session, options); })) return 2;
  if (!session.all_succeed([&] { build(setup, session, options); })) return 2;
  if (!session.all_succeed([&] { check_models_agree(session.communicator(), setup.model_hash); })) return 2;
  if (!session.all_succeed([&] { open_folder(setup, session, options); })) return 2;
  announce(setup, session);
  const TrainingOutcome outcome = setup.loop->run(setup.log.get(), setup.folder);
  if (setup.trace) setup.trace->finish(setup.folder);
  if (session.is_first()) summarize(setup, outcome);
  if (outcome.failure.empty()) return 0;
  if (session.is_first()) log_error("{}", outcome.failure);
  return 1;
}

}  // namespace plumb
