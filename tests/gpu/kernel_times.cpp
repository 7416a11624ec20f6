// kernel_times [--device NAME] [--json FILE] [--only WORD]: the time of every kernel case (of those with the
// word in their name) on a device, beside the roofline's. kernel_times --predict: the roofline on an H100
// alone, without a device; --predict --step: of every kernel of a whole training step. Both are tables in
// docs/design/cuda.md (roofline_test.cpp). Prints a Markdown table.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "backend/loader.h"
#include "core/error.h"
#include "gpu/kernel_cases.h"
#include "gpu/step_account.h"

namespace plumb::gpu {
namespace {

struct Arguments {
  std::string device = "cuda", json, only;
  bool predict = false, step = false;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string word = values[i];
    if (word == "--predict") {
      arguments.predict = true;
    } else if (word == "--step") {
      arguments.step = true;
    } else if (word == "--device" && i + 1 < count) {
      arguments.device = values[++i];
    } else if (word == "--json" && i + 1 < count) {
      arguments.json = values[++i];
    } else if (word == "--only" && i + 1 < count) {
      arguments.only = values[++i];
    } else {
      fail_input("unknown argument '{}'; known: --predict, --step, --device NAME, --json FILE, --only WORD",
                 word);
    }
  }
  if (arguments.step && !arguments.predict) fail_input("--step goes with --predict");
  return arguments;
}

std::string text_of_work(const KernelCase& one) {
  return fmt::format("{:.1f} MB | {}", one.bytes / 1e6,
                     one.operations > 0 ? fmt::format("{:.1f} GFLOP", one.operations / 1e9) : "-");
}

void predict() {
  const Peaks peaks = h100();
  fmt::print(
      "| kernel | shape | least bytes | operations | bound by | {} at best |\n|---|---|---|---|---|---|\n",
      peaks.device);
  for (const KernelCase& one : kernel_cases()) {
    const double seconds = predicted_seconds(one, peaks);
    const bool memory = one.bytes / peaks.bytes_per_second >= seconds;
    fmt::print("| {} | {} | {} | {} | {:.1f} us |\n", one.name, one.shape, text_of_work(one),
               memory ? "memory" : "products", seconds * 1e6);
  }
}

/// Sums of an account.
struct Totals {
  double bytes = 0, operations = 0, seconds = 0;
  void add(const AccountRow& row, double seconds_each) {
    bytes += row.times * row.kernel.bytes;
    operations += row.times * row.kernel.operations;
    seconds += row.times * seconds_each;
  }
};

void print_totals(const char* name, const Totals& totals) {
  fmt::print("| {} | | | {:.1f} MB in all | {:.1f} GFLOP in all | | | {:.0f} us |\n", name,
             totals.bytes / 1e6, totals.operations / 1e9, totals.seconds * 1e6);
}

void predict_step() {
  const Peaks peaks = h100();
  fmt::print("| kernel | shape | times | least bytes | operations | bound by | {} at best | in all |\n",
             peaks.device);
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  Totals all, statistics;
  for (const AccountRow& row : account_of_step()) {
    const CountedKernel& kernel = row.kernel;
    const double seconds = predicted_seconds(kernel, peaks);
    const bool memory = kernel.bytes / peaks.bytes_per_second >= seconds;
    all.add(row, seconds);
    if (kernel.statistics) statistics.add(row, seconds);
    if (row.times * seconds < 0.5e-6) continue;  // vectors
    fmt::print("| {} | {} | {} | {:.1f} MB | {} | {} | {:.1f} us | {:.0f} us |\n", kernel.name, kernel.shape,
               row.times, kernel.bytes / 1e6,
               kernel.operations > 0 ? fmt::format("{:.1f} GFLOP", kernel.operations / 1e9) : "-",
               memory ? "memory" : "products", seconds * 1e6, row.times * seconds * 1e6);
  }
  print_totals("the step", all);
  print_totals("of it for statistics alone", statistics);
}

/// Seconds of one call: the host issues many and waits once, so that its own part is hidden.
double measure(const std::function<void()>& issue, Stream& stream) {
  using Clock = std::chrono::steady_clock;
  const auto time_of = [&](int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) issue();
    stream.synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count() / calls;
  };
  time_of(3);
  const double first = time_of(5);
  const int calls = static_cast<int>(std::clamp(0.05 / first, 5.0, 500.0));
  double best = first;
  for (int repeat = 0; repeat < 5; ++repeat) best = std::min(best, time_of(calls));
  return best;
}

void run(const Arguments& arguments) {
  const auto backend = make_backend(arguments.device);
  const Peaks peaks = peaks_of(backend->facts().name);
  nlohmann::ordered_json json = {{"device", backend->facts().name}, {"peaks_of", peaks.device}};
  fmt::print("Device: {}. Roofline of {}. Time: the best mean of many calls.\n\n", backend->facts().name,
             peaks.device);
  fmt::print(
      "| kernel | shape | least bytes | operations | roofline | measured | of roofline | GB/s | TFLOP/s |\n");
  fmt::print("|---|---|---|---|---|---|---|---|---|\n");
  for (const KernelCase& one : kernel_cases()) {
    if (one.name.find(arguments.only) == std::string::npos) continue;
    const auto stream = backend->create_stream();
    DeviceMemory memory(*backend, *stream);
    const double seconds = measure(one.prepare(*backend, *stream, memory), *stream);
    const double predicted = predicted_seconds(one, peaks);
    fmt::print("| {} | {} | {} | {:.1f} us | {:.1f} us | {:.0f} % | {:.0f} | {:.1f} |\n", one.name, one.shape,
               text_of_work(one), predicted * 1e6, seconds * 1e6, 100 * predicted / seconds,
               one.bytes / seconds / 1e9, one.operations / seconds / 1e12);
    std::fflush(stdout);
    json["kernels"].push_back({{"name", one.name},
                               {"shape", one.shape},
                               {"bytes", one.bytes},
                               {"operations", one.operations},
                               {"predicted_seconds", predicted},
                               {"seconds", seconds}});
  }
  if (!arguments.json.empty()) std::ofstream(arguments.json) << json.dump(1) << "\n";
}

}  // namespace
}  // namespace plumb::gpu

int main(int argc, char** argv) {
  try {
    const plumb::gpu::Arguments arguments = plumb::gpu::parse(argc, argv);
    if (arguments.step) {
      plumb::gpu::predict_step();
    } else if (arguments.predict) {
      plumb::gpu::predict();
    } else {
      plumb::gpu::run(arguments);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_times: %s\n", error.what());
    return 1;
  }
}
