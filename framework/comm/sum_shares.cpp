#include "comm/sum_shares.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"

namespace plumb {
namespace {
/// Elements that are summed before any is written: they stay in the first cache.
constexpr std::int64_t kBlock = 1024;

// One pass for the most frequent case. A target is a source or overlaps none, so that elements do not depend
// on each other, which the compiler cannot see.
template <class T>
void sum_two(const T* a, const T* b, T* first, T* second, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) first[i] = second[i] = a[i] + b[i];
}

template <class T>
void sum(std::span<const void* const> from, std::span<void* const> targets, std::int64_t count) {
  const auto source = [&](std::size_t k) { return static_cast<const T*>(from[k]); };
  if (from.size() == 2 && targets.size() == 2) {
    sum_two(source(0), source(1), static_cast<T*>(targets[0]), static_cast<T*>(targets[1]), count);
    return;
  }
  std::array<T, kBlock> sums;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    const auto bytes = static_cast<std::size_t>(n) * sizeof(T);
    std::memcpy(sums.data(), source(0) + begin, bytes);
    for (std::size_t k = 1; k < from.size(); ++k) {
      const T* addend = source(k) + begin;
      for (std::int64_t i = 0; i < n; ++i) sums[static_cast<std::size_t>(i)] += addend[i];
    }
    for (void* target : targets) std::memcpy(static_cast<T*>(target) + begin, sums.data(), bytes);
  }
}
}  // namespace

void sum_in_order(std::span<const void* const> from, std::span<void* const> targets, std::int64_t count,
                  DType dtype) {
  PLUMB_CHECK(dtype == DType::Float32 || dtype == DType::Float64,
              "sums over ranks are of fp32 or fp64, not {}", name_of(dtype));
  if (dtype == DType::Float32) {
    sum<float>(from, targets, count);
  } else {
    sum<double>(from, targets, count);
  }
}

void sum_rounded_rows(const bfloat16* rows, std::int64_t n, std::int64_t count, bfloat16* into) {
  std::array<float, kBlock> sums;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t block = std::min(kBlock, count - begin);
    widen_from_bfloat16(rows + begin, sums.data(), block);
    for (std::int64_t row = 1; row < n; ++row) {
      const bfloat16* addend = rows + row * count + begin;
      for (std::int64_t i = 0; i < block; ++i)
        sums[static_cast<std::size_t>(i)] += static_cast<float>(addend[i]);
    }
    round_to_bfloat16(sums.data(), into + begin, block);
  }
}

void round_to_bfloat16(const float* from, bfloat16* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = bfloat16(from[i]);
}

void widen_from_bfloat16(const bfloat16* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
}

}  // namespace plumb
