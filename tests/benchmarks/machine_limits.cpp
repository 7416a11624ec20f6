// What this machine can do at best, for the figures beside it: fused multiply-adds from registers, and reading
// and copying arrays that fit its caches or its memory. Google Benchmark; --benchmark_filter and the like.
// Threads: one, and as many as there are cores.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

namespace {

constexpr int kChains = 16;  // independent sums: more than latency times units of any current core
constexpr std::int64_t kRounds = 1 << 16;

// Vectors that the compiler splits into what the target has. Each variant is compiled for its own target and run
// only where the processor has it.
template <int kFloats>
struct Vector {
  using Type [[gnu::vector_size(kFloats * sizeof(float))]] = float;
};

template <class V>
[[gnu::always_inline]] inline float chains_of_multiply_adds() {
  V sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = V{} + 0.5f + static_cast<float>(i);
  V factor = V{} + 0.999f, addend = V{} + 0.001f;
  for (std::int64_t round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + addend;
    // Factors that the compiler cannot know keep it from folding rounds together.
    asm volatile("" : "+x"(factor), "+x"(addend));
  }
  V total = sums[0];
  for (int i = 1; i < kChains; ++i) total += sums[i];
  return total[0];
}

[[gnu::target("avx2,fma")]] float multiply_adds_256() { return chains_of_multiply_adds<Vector<8>::Type>(); }
[[gnu::target("avx512f")]] float multiply_adds_512() { return chains_of_multiply_adds<Vector<16>::Type>(); }

void multiply_adds(benchmark::State& state, float (*body)(), int floats) {
  for (auto _ : state) benchmark::DoNotOptimize(body());
  state.counters["FLOP/s"] = benchmark::Counter(
      2.0 * floats * kChains * static_cast<double>(kRounds) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

struct Free {
  void operator()(float* data) const { ::operator delete[](data, std::align_val_t{64}); }
};
using Array = std::unique_ptr<float[], Free>;

Array array_of(std::int64_t bytes) {
  auto* data = static_cast<float*>(::operator new[](static_cast<std::size_t>(bytes), std::align_val_t{64}));
  std::fill_n(data, bytes / static_cast<std::int64_t>(sizeof(float)), 1.0f);
  return Array(data);
}

/// Bytes of every thread's array.
void reading(benchmark::State& state) {
  const std::int64_t bytes = state.range(0), count = bytes / static_cast<std::int64_t>(sizeof(float));
  const Array data = array_of(bytes);
  using V = Vector<16>::Type;
  for (auto _ : state) {
    V sums[4] = {};
    for (std::int64_t i = 0; i + 64 <= count; i += 64) {
      for (int part = 0; part < 4; ++part) {
        V value;
        std::memcpy(&value, data.get() + i + 16 * part, sizeof value);
        sums[part] += value;
      }
    }
    benchmark::DoNotOptimize(sums);
  }
  state.SetBytesProcessed(bytes * static_cast<std::int64_t>(state.iterations()));
}

/// Bytes count twice, once read and once written; the array is of that size with its copy.
void copying(benchmark::State& state) {
  const std::int64_t bytes = state.range(0) / 2;
  const Array from = array_of(bytes), to = array_of(bytes);
  for (auto _ : state) {
    std::memcpy(to.get(), from.get(), static_cast<std::size_t>(bytes));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(2 * bytes * static_cast<std::int64_t>(state.iterations()));
}

}  // namespace

int main(int argc, char** argv) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (const int threads : {1, cores}) {
    if (threads == 1 && cores == 1) continue;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      benchmark::RegisterBenchmark("fp32 multiply-adds, AVX2", multiply_adds, multiply_adds_256, 8)
          ->Threads(threads)
          ->UseRealTime();
    if (__builtin_cpu_supports("avx512f"))
      benchmark::RegisterBenchmark("fp32 multiply-adds, AVX-512", multiply_adds, multiply_adds_512, 16)
          ->Threads(threads)
          ->UseRealTime();
    for (const std::int64_t kilobytes : {16, 512, 8192, 262144}) {
      benchmark::RegisterBenchmark("read", reading)->Arg(1024 * kilobytes)->Threads(threads)->UseRealTime();
      benchmark::RegisterBenchmark("copy", copying)->Arg(1024 * kilobytes)->Threads(threads)->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
