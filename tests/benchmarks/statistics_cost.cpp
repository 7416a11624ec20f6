// statistics_cost [--device NAME] [--pairs N] [--shape a|b|c] [--dtype fp32|bf16] [--threads N] [--clock
// wall|cpu]: what the default statistics cost when they are taken and logged at every step, as the ratio of a
// step with them to one without any. On one rank: with several, a step also takes the sums of squares of
// their own gradients and waits for two small collectives. Steps come in pairs on one model, so that a change
// of the machine's speed meets both; of the pairs' ratios it prints the median and its 95 % confidence
// interval, and the bytes that go on the wire and to disk. --clock cpu: processor time of all threads, for a
// machine that others use too. --set statistics.attention=false and the like: what one key costs
// (log.stability_every=0: no record is made, statistics.detail_every=0: none is detailed).
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "backend/loader.h"
#include "benchmark_model.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "medians.h"

namespace plumb::benchmarks {
namespace {

struct Arguments {
  std::string device = "cpu", shape, dtype;
  std::vector<std::string> settings;
  int pairs = 200, threads = 0;
  bool processor_time = false;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; i += 2) {
    const std::string word = values[i];
    if (i + 1 == count) fail_input("{} needs a value", word);
    const std::string value = values[i + 1];
    if (word == "--device") {
      arguments.device = value;
    } else if (word == "--shape") {
      arguments.shape = value;
    } else if (word == "--dtype") {
      arguments.dtype = value;
    } else if (word == "--pairs") {
      arguments.pairs = std::stoi(value);
    } else if (word == "--clock") {
      if (value != "wall" && value != "cpu") fail_input("--clock {}: wall or cpu", value);
      arguments.processor_time = value == "cpu";
    } else if (word == "--set") {
      arguments.settings.push_back(value);
    } else if (word == "--threads") {
      arguments.threads = std::stoi(value);
    } else {
      fail_input(
          "unknown argument '{}'; known: --device, --pairs, --shape, --dtype, --threads, --clock, --set",
          word);
    }
  }
  return arguments;
}

struct Case {
  const char* name;
  ModelSize size;
};
constexpr Case kCases[] = {
    {"a", {6, 384, 6, 256, 8, 256}}, {"b", {12, 768, 12, 256, 4, 50257}}, {"c", {48, 128, 4, 128, 8, 256}}};

void measure(const Case& one, const std::string& dtype, const Arguments& arguments, Backend& backend) {
  const ModelSize& size = one.size;
  std::vector<std::string> settings = {"model.placement=peri"};
  settings.insert(settings.end(), arguments.settings.begin(), arguments.settings.end());
  BenchmarkModel model(size, config_of(size, settings), dtype == "bf16" ? DType::BFloat16 : DType::Float32,
                       arguments.processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, backend);
  std::vector<double> plain, with, ratios;
  constexpr int kWarmUp = 3;
  for (int pair = -kWarmUp; pair < arguments.pairs; ++pair) {
    // Neither is always the first.
    const bool plain_first = pair % 2 == 0;
    double without = plain_first ? model.plain_step() : 0;
    const double taken = model.step_with_statistics();
    if (!plain_first) without = model.plain_step();
    if (pair < 0) continue;
    plain.push_back(without);
    with.push_back(taken);
    ratios.push_back(taken / without);
  }
  const BenchmarkModel::Bytes bytes = model.bytes_per_step(arguments.pairs + kWarmUp);
  const auto [low, high] = interval_of_median(ratios);
  fmt::print(
      "| {}: {} blocks, width {}, T {}, B {} | {} | {} | {:.2f} | {:.2f} | {:.4f} | {:.4f} to {:.4f} | "
      "{:.1f} kB "
      "summed, {:.1f} kB gathered | {:.1f} kB |\n",
      one.name, size.blocks, size.width, size.tokens, size.batch, dtype, arguments.pairs,
      1e3 * median_of(plain), 1e3 * median_of(with), median_of(ratios), low, high, bytes.summed / 1e3,
      bytes.gathered / 1e3, bytes.written / 1e3);
  std::fflush(stdout);
}

void run(const Arguments& arguments) {
  if (arguments.threads > 0) set_thread_count(arguments.threads);
  const auto backend = make_backend(arguments.device);
  fmt::print("Device {}, {} threads, {} time; default statistics at every step, all of them logged.\n\n",
             backend->facts().name, thread_count(), arguments.processor_time ? "processor" : "wall");
  fmt::print(
      "| shape | dtype | pairs | ms without | ms with | ratio, median | 95 % of the median | bytes per step "
      "and rank "
      "on the wire | on disk |\n|---|---|---|---|---|---|---|---|---|\n");
  for (const Case& one : kCases) {
    if (!arguments.shape.empty() && arguments.shape != one.name) continue;
    for (const char* dtype : {"fp32", "bf16"}) {
      if (arguments.dtype.empty() || arguments.dtype == dtype) measure(one, dtype, arguments, *backend);
    }
  }
}

}  // namespace
}  // namespace plumb::benchmarks

int main(int argc, char** argv) {
  try {
    plumb::benchmarks::run(plumb::benchmarks::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "statistics_cost: %s\n", error.what());
    return 1;
  }
}
