#include "machine_limits.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>

namespace plumb::benchmarks {
namespace {

constexpr int kChains =
    12;  // independent sums: more than latency times units, and few enough for 16 registers
constexpr std::int64_t kRounds = 1 << 16;

// Vectors that the compiler splits into what the target has. Each variant is compiled for its own target and
// run only where the processor has it.
template <int kFloats>
struct Vector {
  using Type [[gnu::vector_size(kFloats * sizeof(float))]] = float;
};

template <class V>
[[gnu::always_inline]] inline float chains_of_multiply_adds() {
  V sums[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sums[i] = V{} + 0.5f + static_cast<float>(i);
  V factor = V{} + 0.999f, addend = V{} + 0.001f;
  for (std::int64_t round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + addend;
    // Factors that the compiler cannot know keep it from folding rounds together.
    asm volatile("" : "+x"(factor), "+x"(addend));
  }
  V total = sums[0];
#pragma GCC unroll 12
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

[[gnu::target("avx2")]] float sum_of_all(const float* data, std::int64_t count) {
  using V = Vector<8>::Type;
  constexpr int kSums = 8;
  V sums[kSums];
#pragma GCC unroll 8
  for (int part = 0; part < kSums; ++part) sums[part] = V{};
  for (std::int64_t i = 0; i + 8 * kSums <= count; i += 8 * kSums) {
#pragma GCC unroll 8
    for (int part = 0; part < kSums; ++part) {
      V value;
      std::memcpy(&value, data + i + 8 * part, sizeof value);
      sums[part] += value;
    }
  }
  V total = sums[0];
#pragma GCC unroll 8
  for (int part = 1; part < kSums; ++part) total += sums[part];
  return total[0];
}

/// Bytes of every thread's array.
void reading(benchmark::State& state) {
  const std::int64_t bytes = state.range(0), count = bytes / static_cast<std::int64_t>(sizeof(float));
  const Array data = array_of(bytes);
  for (auto _ : state) benchmark::DoNotOptimize(sum_of_all(data.get(), count));
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

struct Variant {
  const char* name;
  float (*body)();
  int floats;
};

/// The variants that this processor has, the widest last.
std::vector<Variant> variants() {
  __builtin_cpu_init();
  std::vector<Variant> list;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    list.push_back({"fp32 multiply-adds, AVX2", multiply_adds_256, 8});
  if (__builtin_cpu_supports("avx512f"))
    list.push_back({"fp32 multiply-adds, AVX-512", multiply_adds_512, 16});
  return list;
}

/// Least seconds of a few calls.
template <class Body>
double least_seconds(Body&& body) {
  double least = 1e9;
  for (int call = 0; call < 12; ++call) {
    const auto start = std::chrono::steady_clock::now();
    body();
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

}  // namespace

void register_machine_limits() {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (const int threads : cores > 1 ? std::vector<int>{1, cores} : std::vector<int>{1}) {
    for (const Variant& one : variants())
      benchmark::RegisterBenchmark(one.name, multiply_adds, one.body, one.floats)
          ->Threads(threads)
          ->UseRealTime();
    for (const std::int64_t kilobytes : {16, 512, 8192, 262144}) {
      if (__builtin_cpu_supports("avx2"))
        benchmark::RegisterBenchmark("read", reading)->Arg(1024 * kilobytes)->Threads(threads)->UseRealTime();
      benchmark::RegisterBenchmark("copy", copying)->Arg(1024 * kilobytes)->Threads(threads)->UseRealTime();
    }
  }
}

CoreLimits measure_core_limits() {
  CoreLimits limits{};
  for (const Variant& one : variants()) {
    const double seconds = least_seconds([&] { benchmark::DoNotOptimize(one.body()); });
    limits.operations_per_second = 2.0 * one.floats * kChains * static_cast<double>(kRounds) / seconds;
  }
  constexpr std::int64_t kBytes = std::int64_t{128} << 20;
  const Array from = array_of(kBytes), to = array_of(kBytes);
  const double seconds = least_seconds([&] {
    std::memcpy(to.get(), from.get(), kBytes);
    benchmark::ClobberMemory();
  });
  limits.bytes_per_second = 2.0 * kBytes / seconds;
  return limits;
}

}  // namespace plumb::benchmarks
