// Plumb as a contender of training_steps.py: makes training steps of one model when told to. Reads lines from
// standard input, each the number of steps to make, and answers each by one line of JSON with the seconds of
// every step; the first line says what it is. Every step takes all default statistics and writes a detailed
// record; of a run, by default, every tenth does.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "backend/loader.h"
#include "benchmark_model.h"
#include "core/parallel_for.h"

namespace plumb::benchmarks {
namespace {

struct Arguments {
  ModelSize size{};
  std::string dtype = "fp32", device = "cpu";
  int threads = 1;
  bool captured = false;
};

/// Largest resident set so far, MB; of a device with memory of its own, what was allocated there.
double peak_megabytes(const Backend& backend) {
  if (backend.device_bytes_in_use() > 0) return static_cast<double>(backend.memory_use().peak) / 1e6;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

void say(const nlohmann::json& line) { std::cout << line.dump() << std::endl; }

void serve(const Arguments& arguments) {
  set_thread_count(arguments.threads);
  const auto backend = make_backend(arguments.device);
  const double base = peak_megabytes(*backend);
  std::vector<std::string> settings = {"model.placement=pre", "device=" + arguments.device};
  if (arguments.captured) settings.push_back("compute.captured_steps=true");
  BenchmarkModel model(arguments.size, config_of(arguments.size, settings),
                       arguments.dtype == "bf16" ? DType::BFloat16 : DType::Float32, CLOCK_MONOTONIC,
                       *backend);
  say({{"name", "plumb"},
       {"processor", backend->facts().name},
       {"parameters", model.parameters()},
       {"base_megabytes", base}});
  for (int steps = 0; std::cin >> steps;) {
    std::vector<double> seconds;
    for (int i = 0; i < steps; ++i) seconds.push_back(model.step_with_statistics());
    say({{"seconds", seconds}, {"peak_megabytes", peak_megabytes(*backend)}});
  }
}

int run(int count, char** values) {
  Arguments arguments;
  CLI::App app("Makes training steps when told to; see training_steps.py");
  app.add_option("--blocks", arguments.size.blocks)->required();
  app.add_option("--width", arguments.size.width)->required();
  app.add_option("--heads", arguments.size.heads)->required();
  app.add_option("--tokens", arguments.size.tokens)->required();
  app.add_option("--batch", arguments.size.batch)->required();
  app.add_option("--vocabulary", arguments.size.vocabulary)->required();
  app.add_option("--dtype", arguments.dtype)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--threads", arguments.threads)->check(CLI::PositiveNumber);
  app.add_option("--device", arguments.device);
  app.add_flag("--captured", arguments.captured);
  CLI11_PARSE(app, count, values);
  serve(arguments);
  return 0;
}

}  // namespace
}  // namespace plumb::benchmarks

int main(int argc, char** argv) {
  try {
    return plumb::benchmarks::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_step: %s\n", error.what());
    return 1;
  }
}
