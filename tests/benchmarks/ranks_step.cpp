// Training steps of several ranks for weak_scaling.py and training_steps.py --ranks: the training loop
// itself, with default statistics in every step and the log of rank 0. Every rank reads numbers of steps from
// a pipe of its own (FOLDER/RANK): one that waited in a collective would take a core from whoever is measured
// meanwhile. Rank 0 answers by a line of JSON with the seconds of every step.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "backend/loader.h"
#include "benchmark_model.h"
#include "checkpointed_model.h"
#include "config/load.h"
#include "core/parallel_for.h"
#include "session.h"
#include "training_loop.h"

namespace plumb::benchmarks {
namespace {

struct Arguments {
  ModelSize size{};
  std::string dtype = "fp32", commands;
  int threads = 1;
  std::vector<std::string> settings;
};

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

LoadedConfig configuration(const Arguments& arguments, int world) {
  const ModelSize& size = arguments.size;
  std::vector<std::string> settings = {
      fmt::format("model.blocks={}", size.blocks),
      fmt::format("model.width={}", size.width),
      fmt::format("model.heads={}", size.heads),
      fmt::format("model.sequence_length={}", size.tokens),
      fmt::format("training.sequences_per_step={}", size.batch * world),
      "compute.dtype=" + arguments.dtype,
      "model.placement=pre",
      "data.kind=markov",
      "log.stability_every=1",
      "statistics.detail_every=1",
      "validation.at_end=false",
  };
  settings.insert(settings.end(), arguments.settings.begin(), arguments.settings.end());
  return load_config({ConfigSource{"benchmark", ""}}, settings, placement_presets());
}

void serve(const Arguments& arguments, Session& session) {
  const LoadedConfig loaded = configuration(arguments, session.world());
  set_thread_count(arguments.threads);
  const auto backend = make_backend("cpu", {.communicator = &session.communicator()});
  session.choose_sum_path(sum_path(loaded.config.communication));
  const double base = peak_megabytes();
  LanguageModelTask task = make_language_model_task(loaded.config);
  task.vocabulary = arguments.size.vocabulary;
  TrainingLoop loop(session, loaded, check_batch(loaded, session.world()), task, *backend,
                    resolve_compute_dtype(arguments.dtype, *backend));
  loop.start();
  const TemporaryFolder folder;
  std::unique_ptr<RunLog> log;
  const auto say = [&](const nlohmann::json& line) {
    if (session.is_first()) std::cout << line.dump() << std::endl;
  };
  if (session.is_first()) log = std::make_unique<RunLog>(folder.path(), loop.log_settings());
  say({{"name", "plumb"},
       {"parameters", loop.engine().parameters().trainable_elements()},
       {"base_megabytes", base}});
  std::ifstream pipe;
  if (!arguments.commands.empty()) pipe.open(fmt::format("{}/{}", arguments.commands, session.rank()));
  std::istream& commands = arguments.commands.empty() ? std::cin : pipe;
  for (int steps = 0; commands >> steps;) {
    std::vector<double> seconds;
    session.communicator().barrier("ready");
    for (int i = 0; i < steps; ++i) {
      const double start = seconds_of(CLOCK_MONOTONIC);
      const StepRecord& record = loop.single_step();
      if (log) log->append(record);
      seconds.push_back(seconds_of(CLOCK_MONOTONIC) - start);
    }
    say({{"seconds", seconds}, {"peak_megabytes", peak_megabytes()}});
  }
}

int run(int count, char** values) {
  Arguments arguments;
  CLI::App app("Makes training steps on several ranks when told to; see weak_scaling.py");
  app.add_option("--blocks", arguments.size.blocks)->required();
  app.add_option("--width", arguments.size.width)->required();
  app.add_option("--heads", arguments.size.heads)->required();
  app.add_option("--tokens", arguments.size.tokens)->required();
  app.add_option("--batch", arguments.size.batch)->required();
  app.add_option("--vocabulary", arguments.size.vocabulary)->required();
  app.add_option("--dtype", arguments.dtype)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--threads", arguments.threads)->check(CLI::PositiveNumber);
  app.add_option("--commands", arguments.commands,
                 "folder with a pipe for every rank; without: standard input");
  app.add_option("--set", arguments.settings, "a line of plumb train --set");
  CLI11_PARSE(app, count, values);
  Session session;
  return session.all_succeed([&] { serve(arguments, session); }) ? 0 : 2;
}

}  // namespace
}  // namespace plumb::benchmarks

int main(int argc, char** argv) {
  try {
    return plumb::benchmarks::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ranks_step: %s\n", error.what());
    return plumb::leave_after_error(1);
  }
}
