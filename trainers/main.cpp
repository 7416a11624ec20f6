// The `plumb` program: parses the command line, runs one subcommand, turns an error into one line and a
// status.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "commands.h"
#include "config/nearest.h"
#include "config/reference.h"
#include "core/error.h"
#include "core/log.h"
#include "session.h"
#include "version.h"

namespace plumb {
namespace {

using Action = std::function<int()>;

void add_train(CLI::App& app, TrainOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand("train", "Train; under mpirun every rank runs the same line");
  command->add_option("config", options.configs, "TOML files; later ones win over earlier ones")->required();
  command->add_option("--set", options.overrides, "a.b.c=value, TOML syntax; wins over the files")
      ->take_all();
  command->add_option("--resume", options.resume,
                      "auto (newest whole checkpoint of the run) or a checkpoint");
  command->add_flag(
      "--trace{auto}", options.trace,
      "Trace steps into the run's trace.json, for ui.perfetto.dev; --trace=3-5 says which ones");
  command->footer(config_help_text());
  command->callback([&options, &action] { action = [&options] { return run_train(options); }; });
}

void add_eval(CLI::App& app, EvalOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "Loss of a checkpoint on a split");
  command->add_option("checkpoint", options.checkpoint, "Folder of a checkpoint, or of a run (its newest)")
      ->required();
  command->add_option("--split", options.split, "train, validation or the path of a token file");
  command->add_option("--sequences", options.sequences, "Sequences to use; 0 = the whole split")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--device", options.device, "auto, cuda, cpu, reference or cuda-emulated");
  command->add_option("--dtype", options.dtype, "fp64, fp32, bf16 or auto; without it that of training");
  command->callback([&options, &action] { action = [&options] { return run_eval(options); }; });
}

void add_generate(CLI::App& app, GenerateOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand("generate", "Text from a checkpoint");
  command->add_option("checkpoint", options.checkpoint, "Folder of a checkpoint, or of a run (its newest)")
      ->required();
  command->add_option("--prompt", options.prompt, "Text to go on from");
  command->add_option("--tokens", options.tokens, "Tokens to generate")->check(CLI::PositiveNumber);
  command
      ->add_option("--temperature", options.temperature, "Divides the logits; 0 = always the likeliest token")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", options.top_k, "Draw among the k likeliest tokens; 0 = all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", options.seed, "Seed of the draws");
  command->add_option("--device", options.device, "auto, cuda, cpu, reference or cuda-emulated");
  command->add_option("--dtype", options.dtype, "fp64, fp32, bf16 or auto; without it that of training");
  command->callback([&options, &action] { action = [&options] { return run_generate(options); }; });
}

struct DataOptions {
  DataPrepareOptions prepare;
  DataDescribeOptions describe;
  DataSynthesizeOptions synthesize;
};

void add_data(CLI::App& app, DataOptions& options, Action& action) {
  CLI::App* data = app.add_subcommand("data", "Text to token files; describes token files");
  data->require_subcommand(1);
  CLI::App* prepare = data->add_subcommand("prepare", "Text files to train.bin and validation.bin");
  prepare->add_option("inputs", options.prepare.inputs, "Text files, joined in this order")->required();
  prepare->add_option("--output", options.prepare.output, "Folder for the token files")->required();
  prepare->add_option("--tokenizer", options.prepare.tokenizer, "byte");
  prepare->add_option("--validation-fraction", options.prepare.validation_fraction,
                      "Share at the end of the text that becomes the validation split");
  prepare->add_option("--layout", options.prepare.layout, "raw (as nanoGPT) or llm.c (with a header)")
      ->check(CLI::IsMember({"raw", "llm.c"}));
  prepare->callback(
      [&options, &action] { action = [&options] { return run_data_prepare(options.prepare); }; });

  CLI::App* describe = data->add_subcommand("describe", "Counts, entropy and Markov models of a split");
  describe->add_option("train", options.describe.train, "Training token file")->required();
  describe->add_option("validation", options.describe.validation, "Validation token file")->required();
  describe->add_flag("--json", options.describe.json, "Print JSON");
  describe->callback(
      [&options, &action] { action = [&options] { return run_data_describe(options.describe); }; });

  CLI::App* synthesize = data->add_subcommand("synthesize", "Text of the built-in synthetic language");
  synthesize->add_option("--output", options.synthesize.output, "Text file to write")->required();
  synthesize->add_option("--bytes", options.synthesize.bytes, "Length")->check(CLI::PositiveNumber);
  synthesize->add_option("--seed", options.synthesize.seed, "Seed of the language and the text");
  synthesize->callback(
      [&options, &action] { action = [&options] { return run_data_synthesize(options.synthesize); }; });
}

void add_dump(CLI::App& app, DumpOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "dump", "One step's inputs, parameters, hidden states, loss and gradients as safetensors");
  command->add_option("config", options.configs, "TOML files")->required();
  command->add_option("--set", options.overrides, "a.b.c=value")->take_all();
  command->add_option("--output", options.output, "File to write");
  command->add_option("--step", options.step, "Optimiser step whose schedules and data are used")
      ->check(CLI::NonNegativeNumber);
  command->callback([&options, &action] { action = [&options] { return run_dump(options); }; });
}

void add_placements(CLI::App& app, PlacementsOptions& options, Action& action) {
  CLI::App* command =
      app.add_subcommand("placements", "Every placement; one with its equations, coefficients and init");
  CLI::Option* name = command->add_option("name", options.name, "A placement; without it, the table of all");
  command->add_option("--layers", options.layers, "Depth that coefficients and init are shown for")
      ->check(CLI::Range(1, 1000))
      ->needs(name);
  command->add_flag("--json", options.json, "Print JSON");
  command->callback([&options, &action] { action = [&options] { return run_placements(options); }; });
}

void add_metrics(CLI::App& app, MetricsOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand("metrics", "Every field of the run logs: definition, unit, source");
  command->add_flag("--json", options.json, "Print JSON, one object per field");
  command->callback([&options, &action] { action = [&options] { return run_metrics(options); }; });
}

void add_report(CLI::App& app, ReportCommandOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "report", "One HTML page about a run, or about several side by side; opens without a network");
  command->add_option("run", options.runs, "Folders of runs; finished, going on or killed")->required();
  command->add_option("--output", options.output,
                      "File to write; without it report.html, in the folder of a single run");
  command->callback([&options, &action] { action = [&options] { return run_report(options); }; });
}

void add_trace(CLI::App& app, TraceOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "trace", "Joins what the ranks of `plumb train --trace` wrote on several hosts into one trace.json");
  command->add_option("run", options.run, "Folder of the run")->required();
  command->callback([&options, &action] { action = [&options] { return run_trace(options); }; });
}

void add_check(CLI::App& app, CheckOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "check",
      "Before training: predicted growth, a probed pass at init, bounds, verdict; status 1 if pathological");
  command->add_option("config", options.configs, "TOML files; later ones win over earlier ones")->required();
  command->add_option("--set", options.overrides, "a.b.c=value")->take_all();
  command
      ->add_option("--seeds", options.seeds, "Seeds to draw the model from, training.seed and those after it")
      ->check(CLI::Range(1, 1000));
  command->add_flag("--json", options.json, "Print JSON");
  command->callback([&options, &action] { action = [&options] { return run_check(options); }; });
}

void add_plan(CLI::App& app, PlanOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "plan", "Before training: memory of a rank, item by item, and the time of a step on 1 to 4096 ranks");
  command->add_option("config", options.configs, "TOML files; later ones win over earlier ones")->required();
  command->add_option("--set", options.overrides, "a.b.c=value")->take_all();
  command->add_option("--ranks", options.ranks, "Numbers of ranks, 1,2,8; without it some up to 4096")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  command->add_option("--ranks-per-host", options.ranks_per_host, "Ranks that share a host")
      ->check(CLI::Range(1, 4096));
  command->add_option("--fabric", options.fabric,
                      "File of `plumb doctor --bandwidth --output`; with it the time of a step is planned");
  command
      ->add_option("--steps", options.steps,
                   "Steps to time on this machine; 0 = none: FLOPs over the fabric's FLOP/s")
      ->check(CLI::Range(0, 1000));
  command->add_flag("--strong", options.strong,
                    "Keep the sequences of a step for every number of ranks; without it those of a rank");
  command->add_flag("--json", options.json, "Print JSON");
  command->callback([&options, &action] { action = [&options] { return run_plan(options); }; });
}

void add_export(CLI::App& app, ExportOptions& options, Action& action) {
  CLI::App* command =
      app.add_subcommand("export", "A run's logs as NetCDF or CSV, its weights in the layout of GPT-2");
  command->add_option("run", options.run, "Folder of a run; for huggingface also of a checkpoint")
      ->required();
  command->add_option("--format", options.format, "netcdf, csv or huggingface")
      ->required()
      ->check(CLI::IsMember({"netcdf", "csv", "huggingface"}));
  command->add_option("--output", options.output,
                      "File (netcdf) or folder; without it, in the run's folder export/");
  command->callback([&options, &action] { action = [&options] { return run_export(options); }; });
}

void add_sweep(CLI::App& app, SweepOptions& options, Action& action) {
  CLI::App* command = app.add_subcommand(
      "sweep", "Train every cell of a [sweep]; goes on with what is not finished, ends in one report");
  command->add_option("config", options.config, "TOML file with a table [sweep]")->required();
  command->add_option("--set", options.overrides, "a.b.c=value, TOML syntax, for all cells")->take_all();
  command->add_option("--output", options.output, "Folder of the runs; without it runs/<name of the file>");
  command->add_option("--jobs", options.jobs, "Runs at a time, each on an equal share of the cores")
      ->check(CLI::Range(1, 1000));
  command->add_option("--launcher", options.launcher, "Goes before `plumb train`, e.g. \"mpirun -np 2\"");
  CLI::Option* dry = command->add_flag("--dry-run", options.dry_run, "Print the cells and how far they are");
  command->add_flag("--slurm", options.slurm, "Print a job array for sbatch instead of training")
      ->excludes(dry);
  command->callback([&options, &action] { action = [&options] { return run_sweep(options); }; });
}

struct DoctorOptions {
  bool count_gpus = false, bandwidth = false;
  BandwidthOptions measured;
};

void add_doctor(CLI::App& app, DoctorOptions& options, Action& action) {
  CLI::App* command =
      app.add_subcommand("doctor", "What this machine and this launch offer, what is missing, how to get it");
  CLI::Option* gpus = command->add_flag("--gpus", options.count_gpus,
                                        "Print the number of GPUs that ranks here can use, and no more");
  CLI::Option* bandwidth =
      command
          ->add_flag("--bandwidth", options.bandwidth,
                     "Measure how fast the ranks of this launch talk and compute, for `plumb plan --fabric`")
          ->excludes(gpus);
  BandwidthOptions& measured = options.measured;
  command->add_option("--output", measured.output, "File to write")->needs(bandwidth);
  command
      ->add_option("--inside", measured.inside,
                   "A measurement of one host: its speed inside a host is taken, and taken off")
      ->needs(bandwidth);
  command->add_option("--device", measured.device, "auto, cuda, cpu, reference or cuda-emulated")
      ->needs(bandwidth);
  command->add_option("--threads", measured.threads, "Threads of a rank; 0 = as for training")
      ->needs(bandwidth)
      ->check(CLI::NonNegativeNumber);
  command->add_option("--rounds", measured.rounds, "Times that everything is measured")
      ->needs(bandwidth)
      ->check(CLI::Range(1, 1000));
  command->callback([&options, &action] {
    action = options.count_gpus  ? Action(run_gpu_count)
             : options.bandwidth ? Action([&options] { return run_doctor_bandwidth(options.measured); })
                                 : Action(run_doctor);
  });
}

/// One line about the first word that is no subcommand of `app`, which CLI11 would only call missing; empty
/// when there is none.
std::string unknown_subcommand(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return "";
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), argv[1]) != names.end()) return "";
  return fmt::format("unknown subcommand '{}'; did you mean '{}'? known: {}", argv[1],
                     nearest_word(argv[1], names), fmt::join(names, ", "));
}

/// "train: config is required; see `plumb train --help`".
std::string fault_of(const CLI::App& app, const CLI::ParseError& error) {
  std::string command;
  const CLI::App* innermost = &app;
  while (!innermost->get_subcommands().empty()) {
    innermost = innermost->get_subcommands().front();
    command += (command.empty() ? "" : " ") + innermost->get_name();
  }
  std::string fault = error.what();
  std::replace(fault.begin(), fault.end(), '\n', ' ');
  return fmt::format("{}{}{}; see `plumb {}{}--help`", command, command.empty() ? "" : ": ", fault, command,
                     command.empty() ? "" : " ");
}

/// A wrong command line: all ranks meet, one speaks.
int refuse(const std::string& fault) {
  Session session;
  session.all_succeed([&] { throw InputError(fault); });
  return 2;
}

int run(int argc, char** argv) {
  CLI::App app{
      "Plumb: a data-parallel training engine for deep Transformers, built to study training stability"};
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  Action action;
  TrainOptions train;
  EvalOptions eval;
  GenerateOptions generate;
  DataOptions data;
  DumpOptions dump;
  PlacementsOptions placements;
  MetricsOptions metrics;
  ReportCommandOptions report;
  TraceOptions trace;
  CheckOptions check;
  PlanOptions plan;
  ExportOptions exported;
  SweepOptions sweep;
  DoctorOptions doctor;
  add_train(app, train, action);
  add_eval(app, eval, action);
  add_generate(app, generate, action);
  add_data(app, data, action);
  add_dump(app, dump, action);
  add_placements(app, placements, action);
  add_metrics(app, metrics, action);
  add_report(app, report, action);
  add_trace(app, trace, action);
  add_check(app, check, action);
  add_plan(app, plan, action);
  add_export(app, exported, action);
  add_sweep(app, sweep, action);
  add_doctor(app, doctor, action);

  const std::string unknown = unknown_subcommand(app, argc, argv);
  if (!unknown.empty()) return refuse(unknown);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return refuse(fault_of(app, error));
    return detect_launch().rank == 0 ? app.exit(error) : 0;
  }
  return action();
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  try {
    return plumb::run(argc, argv);
  } catch (const plumb::InputError& error) {
    plumb::log_error("{}", error.what());
    return plumb::leave_after_error(2);
  } catch (const std::exception& error) {
    plumb::log_error("{}", error.what());
    return plumb::leave_after_error(1);
  }
}
