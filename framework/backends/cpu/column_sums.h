// Sums over the rows of a matrix, for the gradients of biases.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/parallel_for.h"

namespace plumb::cpu {

/// sums[i] += sum_r x[r * stride + i] for i < cols. Element is float or bfloat16. A thread owns columns and
/// adds up blocks of rows one after the other, the blocks in float64, so the result does not depend on the
/// number of threads.
template <class Element>
void add_column_sums(const Element* x, std::int64_t stride, std::int64_t rows, std::int64_t cols,
                     float* sums) {
  constexpr std::int64_t kColumns = 64;  // partial sums of one block of rows stay in registers or L1
  constexpr std::int64_t kRows = 64;     // short sums first: their rounding errors stay small
  const std::int64_t groups = (cols + kColumns - 1) / kColumns;
  parallel_for(groups, std::max<std::int64_t>(1, 65536 / (kColumns * std::max<std::int64_t>(1, rows))),
               [&](std::int64_t group) {
                 const std::int64_t first = group * kColumns;
                 const std::int64_t width = std::min(kColumns, cols - first);
                 std::array<double, kColumns> total{};
                 for (std::int64_t row = 0; row < rows; row += kRows) {
                   const std::int64_t end = std::min(rows, row + kRows);
                   std::array<float, kColumns> partial{};
                   for (std::int64_t r = row; r < end; ++r) {
                     const Element* line = x + r * stride + first;
                     for (std::int64_t i = 0; i < width; ++i) {
                       partial[static_cast<std::size_t>(i)] += static_cast<float>(line[i]);
                     }
                   }
                   for (std::int64_t i = 0; i < width; ++i) {
                     total[static_cast<std::size_t>(i)] += partial[static_cast<std::size_t>(i)];
                   }
                 }
                 for (std::int64_t i = 0; i < width; ++i) {
                   sums[first + i] = static_cast<float>(sums[first + i] + total[static_cast<std::size_t>(i)]);
                 }
               });
}

}  // namespace plumb::cpu
