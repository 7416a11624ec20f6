// Sums over the features of one row. Without -ffast-math a plain reduction ends in one scalar addition per
// lane, which for short rows costs more than the loop; these keep lanes apart and fold them in halves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "backends/cpu/tile_product.h"
#include "core/dtype.h"

namespace plumb::cpu {

template <std::size_t kCount>
using FloatVector __attribute__((vector_size(kCount * sizeof(float)))) = float;

/// kLanes floats as a value: unlike Lanes, which is for memory, its alignment survives template deduction.
using LanesValue = FloatVector<kLanes>;

/// Loads kLanes neighbouring elements as floats.
struct LoadLanes {
  LanesValue operator()(const float* data) const { return lanes_at(data); }
  LanesValue operator()(const bfloat16* data) const {
    using Halves __attribute__((vector_size(kLanes * sizeof(std::uint16_t)), aligned(2), may_alias)) =
        std::uint16_t;
    using Words __attribute__((vector_size(kLanes * sizeof(std::uint32_t)))) = std::uint32_t;
    const Words words = __builtin_convertvector(*reinterpret_cast<const Halves*>(data), Words);
    return reinterpret_cast<LanesValue>(words << 16);
  }
};
/// Loads one: for the end of a row that is not a whole number of vectors.
struct LoadOne {
  template <class T>
  float operator()(const T* data) const {
    return static_cast<float>(*data);
  }
};

namespace detail {
template <class Combine, std::size_t... kIndices>
float folded(const FloatVector<2 * sizeof...(kIndices)>& values, Combine combine,
             std::index_sequence<kIndices...>) {
  constexpr int kHalf = sizeof...(kIndices);
  if constexpr (kHalf == 1) {
    return combine(values[0], values[1]);
  } else {
    const FloatVector<kHalf> halves = combine(
        FloatVector<kHalf>(__builtin_shufflevector(values, values, static_cast<int>(kIndices)...)),
        FloatVector<kHalf>(__builtin_shufflevector(values, values, static_cast<int>(kIndices) + kHalf...)));
    return folded(halves, combine, std::make_index_sequence<kHalf / 2>{});
  }
}
}  // namespace detail

/// The sum of all lanes, folded in halves.
inline float sum_of_lanes(const LanesValue& lanes) {
  return detail::folded(
      lanes, [](auto a, auto b) { return a + b; }, std::make_index_sequence<kLanes / 2>{});
}
/// The largest lane; a NaN may be passed over.
inline float largest_of_lanes(const LanesValue& lanes) {
  return detail::folded(
      lanes, [](auto a, auto b) { return a > b ? a : b; }, std::make_index_sequence<kLanes / 2>{});
}

struct TwoSums {
  float first = 0, second = 0;
};

/// Two sums over i in [0, n): body(load, i, first, second) adds to both what load(array + i) gives, for Lanes
/// and for single floats alike.
template <class Body>
TwoSums sum_two(std::int64_t n, Body&& body) {
  LanesValue first{}, second{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(LoadLanes{}, i, first, second);
  TwoSums rest;
  for (; i < n; ++i) body(LoadOne{}, i, rest.first, rest.second);
  return {sum_of_lanes(first) + rest.first, sum_of_lanes(second) + rest.second};
}

/// A sum over i in [0, n) for each of kRows rows, side by side: a short row alone waits for its chain of
/// additions. body(load, row, i) is what is added, for Lanes and for single floats alike; every sum is the
/// same whatever kRows is.
template <std::size_t kRows, class Body>
std::array<float, kRows> sum_rows(std::int64_t n, Body&& body) {
  std::array<LanesValue, kRows> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t r = 0; r < kRows; ++r) lanes[r] += body(LoadLanes{}, r, i);
  std::array<float, kRows> sums{};
  for (; i < n; ++i)
    for (std::size_t r = 0; r < kRows; ++r) sums[r] += body(LoadOne{}, r, i);
  for (std::size_t r = 0; r < kRows; ++r) sums[r] = sum_of_lanes(lanes[r]) + sums[r];
  return sums;
}

/// sum_i a[i] b[i].
template <class A, class B>
float dot(const A* a, const B* b, std::int64_t n) {
  return sum_two(n, [&](auto load, std::int64_t i, auto& sum, auto&) { sum += load(a + i) * load(b + i); })
      .first;
}

}  // namespace plumb::cpu
