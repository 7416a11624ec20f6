#include <algorithm>
#include <cmath>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/workspace_carver.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

struct Scratch {
  double *unit_sums, *similarities;  // (threads, cols); one for each sequence

  Scratch(const TokenSimilarity& arguments, WorkspaceCarver& carver)
      : unit_sums(carver.take<double>(thread_count() * arguments.x.cols())),
        similarities(carver.take<double>(sequences_of(arguments.x.rows(), arguments.rows_per_sequence))) {}
};

/// In float64: |sum of units|^2 is of the size of T for rows that have nothing in common, and T is taken off.
template <class T>
double similarity_of(const Rows<T>& x, std::int64_t first, std::int64_t tokens, std::int64_t cols,
                     double* unit_sum) {
  std::fill(unit_sum, unit_sum + cols, 0.0);
  std::int64_t lengths = 0;
  for (std::int64_t r = first; r < first + tokens; ++r) {
    const T* row = x[r];
    double square = 0;
#pragma omp simd reduction(+ : square)
    for (std::int64_t i = 0; i < cols; ++i) {
      const auto value = static_cast<double>(static_cast<float>(row[i]));
      square += value * value;
    }
    if (square == 0) continue;
    ++lengths;
    const double scale = 1 / std::sqrt(square);
#pragma omp simd
    for (std::int64_t i = 0; i < cols; ++i)
      unit_sum[i] += scale * static_cast<double>(static_cast<float>(row[i]));
  }
  double square = 0;
#pragma omp simd reduction(+ : square)
  for (std::int64_t i = 0; i < cols; ++i) square += unit_sum[i] * unit_sum[i];
  return (square - static_cast<double>(lengths)) /
         (static_cast<double>(tokens) * static_cast<double>(tokens - 1));
}

template <class T>
void add_similarity(const TokenSimilarity& arguments) {
  const char* op = "token_similarity";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const std::int64_t tokens = arguments.rows_per_sequence;
  PLUMB_CHECK(tokens >= 1 && rows % tokens == 0, "{}: {} rows are no sequences of {}", op, rows, tokens);
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  double* sums = vector_of<double>(op, "sums", arguments.sums, kSimilaritySums);
  if (tokens == 1) return;
  WorkspaceCarver carver(arguments.workspace);
  const Scratch scratch(arguments, carver);
  const std::int64_t sequences = rows / tokens;
  parallel_chunks(sequences, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    for (std::int64_t sequence = begin; sequence < end; ++sequence)
      scratch.similarities[sequence] =
          similarity_of(x, sequence * tokens, tokens, cols, scratch.unit_sums + thread * cols);
  });
  for (std::int64_t sequence = 0; sequence < sequences; ++sequence)
    sums[kSimilarity] += scratch.similarities[sequence];
  sums[kSimilaritySequences] += static_cast<double>(sequences);
}

}  // namespace

void CpuObservations::token_similarity(Stream&, const TokenSimilarity& arguments) const {
  with_compute("token_similarity", arguments.x.dtype,
               [&](auto element) { add_similarity<decltype(element)>(arguments); });
}

std::size_t CpuObservations::token_similarity_workspace(const TokenSimilarity& arguments) const {
  WorkspaceCarver carver;
  Scratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
