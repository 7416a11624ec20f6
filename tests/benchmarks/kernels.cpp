// The kernels of a training step at the shapes of training_steps.py, on one thread, and the machine's own
// limits in the same run. Google Benchmark; of every kernel the counters say how fast it moved its least
// bytes, how fast it did its operations, and the share of the roofline that it reached: the longer of copying
// the bytes in memory and doing the operations in registers, over the time that it took. A share above 1: its
// arrays stay in cache.
//   kernels --benchmark_filter='a/fp32/.*'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <string>

#include "backend/loader.h"
#include "core/parallel_for.h"
#include "gpu/kernel_cases.h"
#include "machine_limits.h"

namespace plumb::benchmarks {
namespace {

struct ModelKernels {
  const char* name;
  gpu::KernelSizes sizes;
};

constexpr ModelKernels kModels[] = {
    {"a", {.batch = 8, .tokens = 256, .width = 384, .heads = 6, .vocabulary = 256, .parameters = 10'800'000}},
    {"b",
     {.batch = 4, .tokens = 256, .width = 768, .heads = 12, .vocabulary = 50257, .parameters = 124'000'000}},
    {"c", {.batch = 8, .tokens = 128, .width = 128, .heads = 4, .vocabulary = 256, .parameters = 9'600'000}},
};

void run_case(benchmark::State& state, Backend& backend, const gpu::KernelCase& one,
              const CoreLimits& limits) {
  const auto stream = backend.create_stream();
  gpu::DeviceMemory memory(backend, *stream);
  const auto issue = one.prepare(backend, *stream, memory);
  issue();
  for (auto _ : state) issue();
  const auto calls = static_cast<double>(state.iterations());
  double least = one.bytes / limits.bytes_per_second;
  if (limits.operations_per_second > 0)
    least = std::max(least, one.operations / limits.operations_per_second);
  using Counter = benchmark::Counter;
  state.counters["bytes/s"] = Counter(one.bytes * calls, Counter::kIsRate);
  if (one.operations > 0) state.counters["FLOP/s"] = Counter(one.operations * calls, Counter::kIsRate);
  state.counters["of_roofline"] = Counter(least * calls, Counter::kIsRate);
}

void register_kernels(Backend& backend, const CoreLimits& limits) {
  for (const auto& [model, sizes] : kModels) {
    for (const DType dtype : {DType::Float32, DType::BFloat16}) {
      gpu::KernelSizes own = sizes;
      own.compute = dtype;
      for (const gpu::KernelCase& one : gpu::kernel_cases(own)) {
        const std::string name =
            std::string(model) + "/" + (dtype == DType::Float32 ? "fp32" : "bf16") + "/" + one.name;
        benchmark::RegisterBenchmark(
            name.c_str(),
            [&backend, one, limits](benchmark::State& state) { run_case(state, backend, one, limits); })
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace
}  // namespace plumb::benchmarks

int main(int argc, char** argv) {
  plumb::set_thread_count(1);
  const auto backend = plumb::make_backend("cpu");
  const plumb::benchmarks::CoreLimits limits = plumb::benchmarks::measure_core_limits();
  plumb::benchmarks::register_machine_limits();
  plumb::benchmarks::register_kernels(*backend, limits);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
