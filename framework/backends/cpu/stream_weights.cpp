// The mixing weights of hyper-connections from a projection of the row, and Sinkhorn's algorithm. A row's
// matrix is too small to fill a vector, so kBatch rows are worked on side by side.
#include <array>

#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/row_segments.h"
#include "backends/cpu/stream_entries.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

constexpr std::int64_t kBatch = 16;

/// The same number of each of kBatch rows.
struct alignas(64) Batch {
  float of[kBatch];
};
using BatchEntries = std::array<Batch, kMaxStreamEntries>;
using BatchMatrix = std::array<Batch, kMaxStreams * kMaxStreams>;

/// Arguments of both directions, checked, with the scale of every entry.
template <class T>
struct WeightMap {
  StreamEntries entries;
  bool hyper;
  int iterations;
  std::int64_t rows, count;
  std::int64_t scale_count;
  Rows<T> raw;
  const float* base;
  std::array<float, kMaxStreamEntries> scales{};

  template <class Arguments>
  WeightMap(const char* op, const Arguments& arguments)
      : entries(op, arguments.streams),
        hyper(arguments.kind == StreamWeightKind::Hyper),
        iterations(hyper ? 0 : arguments.iterations),
        rows(arguments.raw.rows()),
        count(entries.count()),
        scale_count(hyper ? 2 : 3),
        raw(op, "raw", arguments.raw, rows, count),
        base(vector_of<float>(op, "base", arguments.base, count)) {
    PLUMB_CHECK(hyper || arguments.kind == StreamWeightKind::Manifold, "{}: unknown kind {}", op,
                static_cast<int>(arguments.kind));
    PLUMB_CHECK(hyper || (iterations >= 1 && iterations <= 100), "{}: iterations is {}, not in [1, 100]", op,
                iterations);
    const float* values = vector_of<float>(op, "scales", arguments.scales, scale_count);
    for (std::int64_t k = 0; k < count; ++k) scales[static_cast<std::size_t>(k)] = values[scale_index(k)];
  }

  std::int64_t scale_index(std::int64_t entry) const {
    const std::int64_t place = entry % (entries.streams + 2);  // read, write, mix, mix, ...
    if (place == 1) return 1;
    return hyper || place == 0 ? 0 : 2;
  }
  float scale(std::int64_t entry) const { return scales[static_cast<std::size_t>(entry)]; }
  std::int64_t batches() const { return (rows + kBatch - 1) / kBatch; }
  std::int64_t rows_in(std::int64_t batch) const { return std::min(kBatch, rows - batch * kBatch); }
};

/// One batch of a tensor turned on its side; what lies behind the last row is zero.
template <class T>
void load_batch(const Rows<T>& tensor, std::int64_t first, std::int64_t rows, std::int64_t count,
                BatchEntries& out) {
  if (rows < kBatch) std::fill(out.begin(), out.begin() + count, Batch{});
  for (std::int64_t lane = 0; lane < rows; ++lane) {
    const T* row = tensor[first + lane];
    for (std::int64_t k = 0; k < count; ++k)
      out[static_cast<std::size_t>(k)].of[lane] = static_cast<float>(row[k]);
  }
}

/// base + scale raw of one entry.
template <class T>
Batch logits(const WeightMap<T>& map, const BatchEntries& raw, std::int64_t entry) {
  const float base = map.base[entry], scale = map.scale(entry);
  const Batch& from = raw[static_cast<std::size_t>(entry)];
  Batch out;
#pragma omp simd
  for (std::int64_t lane = 0; lane < kBatch; ++lane) out.of[lane] = base + scale * from.of[lane];
  return out;
}

Batch sigmoid(const Batch& x) {
  Batch out;
#pragma omp simd
  for (std::int64_t lane = 0; lane < kBatch; ++lane) out.of[lane] = vector_sigmoid(x.of[lane]);
  return out;
}

/// matrix[i * n + j] = exp(logit) up to a factor for each column j, which the first step divides out again.
template <class T>
void exponentiate(const WeightMap<T>& map, const BatchEntries& raw, Batch* matrix) {
  const std::int64_t n = map.entries.streams;
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) matrix[i * n + j] = logits(map, raw, map.entries.mix(i, j));
    Batch largest = matrix[j];
    for (std::int64_t i = 1; i < n; ++i) {
      const Batch& logit = matrix[i * n + j];
#pragma omp simd
      for (std::int64_t lane = 0; lane < kBatch; ++lane)
        largest.of[lane] = logit.of[lane] > largest.of[lane] ? logit.of[lane] : largest.of[lane];
    }
    for (std::int64_t i = 0; i < n; ++i) {
      Batch& entry = matrix[i * n + j];
#pragma omp simd
      for (std::int64_t lane = 0; lane < kBatch; ++lane)
        entry.of[lane] = vector_exp(entry.of[lane] - largest.of[lane]);
    }
  }
}

/// The rows or columns of an n x n matrix: entry k of a line is at line * line_step + k * entry_step.
struct Lines {
  std::int64_t n, line_step, entry_step;

  static Lines rows(std::int64_t n) { return {n, n, 1}; }
  static Lines columns(std::int64_t n) { return {n, 1, n}; }
  std::int64_t at(std::int64_t line, std::int64_t k) const { return line * line_step + k * entry_step; }
};

Batch line_sum(const Batch* matrix, const Lines& lines, std::int64_t line) {
  Batch sum{};
  for (std::int64_t k = 0; k < lines.n; ++k)
#pragma omp simd
    for (std::int64_t lane = 0; lane < kBatch; ++lane) sum.of[lane] += matrix[lines.at(line, k)].of[lane];
  return sum;
}

/// Divides every line of `from` by its sum; `to` may be `from`.
void normalize(const Batch* from, const Lines& lines, Batch* to) {
  for (std::int64_t line = 0; line < lines.n; ++line) {
    Batch factor = line_sum(from, lines, line);
#pragma omp simd
    for (std::int64_t lane = 0; lane < kBatch; ++lane) factor.of[lane] = 1.0F / factor.of[lane];
    for (std::int64_t k = 0; k < lines.n; ++k)
#pragma omp simd
      for (std::int64_t lane = 0; lane < kBatch; ++lane)
        to[lines.at(line, k)].of[lane] = from[lines.at(line, k)].of[lane] * factor.of[lane];
  }
}

/// With g = y dy, the gradient by the logarithm of y, the step back through y = x / sum x is
/// g -= y sum g: it needs what the step made, not the sums that it divided by.
void normalize_backward(const Batch* made, const Lines& lines, Batch* gradient) {
  for (std::int64_t line = 0; line < lines.n; ++line) {
    const Batch sum = line_sum(gradient, lines, line);
    for (std::int64_t k = 0; k < lines.n; ++k)
#pragma omp simd
      for (std::int64_t lane = 0; lane < kBatch; ++lane)
        gradient[lines.at(line, k)].of[lane] -= made[lines.at(line, k)].of[lane] * sum.of[lane];
  }
}

template <class T>
void manifold_batch(const WeightMap<T>& map, std::int64_t batch, const Rows<float>& weights) {
  const StreamEntries& entries = map.entries;
  const std::int64_t first = batch * kBatch, rows = map.rows_in(batch), n = entries.streams;
  BatchEntries raw;
  BatchMatrix matrix;
  load_batch(map.raw, first, rows, map.count, raw);
  exponentiate(map, raw, matrix.data());
  for (int t = 0; t < map.iterations; ++t) {
    normalize(matrix.data(), Lines::columns(n), matrix.data());
    normalize(matrix.data(), Lines::rows(n), matrix.data());
  }
  const auto put = [&](std::int64_t entry, const Batch& values, float factor) {
    for (std::int64_t lane = 0; lane < rows; ++lane) weights[first + lane][entry] = factor * values.of[lane];
  };
  for (std::int64_t i = 0; i < n; ++i) {
    put(entries.read(i), sigmoid(logits(map, raw, entries.read(i))), 1.0F);
    put(entries.write(i), sigmoid(logits(map, raw, entries.write(i))), 2.0F);
    for (std::int64_t j = 0; j < n; ++j)
      put(entries.mix(i, j), matrix[static_cast<std::size_t>(i * n + j)], 1.0F);
  }
}

template <class T>
void hyper_row(const WeightMap<T>& map, const T* raw, float* weights) {
  const float *base = map.base, *scales = map.scales.data();
  const std::int64_t count = map.count;
#pragma omp simd
  for (std::int64_t k = 0; k < count; ++k)
    weights[k] = base[k] + scales[k] * vector_tanh(static_cast<float>(raw[k]));
}

template <class T>
void forward(const StreamWeights& arguments) {
  const char* op = "stream_weights";
  const WeightMap<T> map(op, arguments);
  const Rows<float> weights(op, "weights", arguments.weights, map.rows, map.count);
  if (map.hyper) {
    parallel_for(map.rows, row_grain(map.count, kExpensiveElements),
                 [&](std::int64_t r) { hyper_row(map, map.raw[r], weights[r]); });
    return;
  }
  parallel_for(map.batches(), row_grain(map.count * map.iterations * kBatch, kCheapElements),
               [&](std::int64_t batch) { manifold_batch(map, batch, weights); });
}

/// Sums over batches of rows: of the gradients of base + scale * what, then of these times `what`, each for
/// every entry. And for each thread what Sinkhorn's algorithm goes through.
struct BackwardScratch {
  RowSegments segments;
  std::int64_t steps_size;
  Batch* steps;

  BackwardScratch(const StreamWeightsBackward& arguments, const StreamEntries& entries,
                  WorkspaceCarver& carver)
      : segments(carver, (arguments.raw.rows() + kBatch - 1) / kBatch, grain(arguments, entries),
                 2 * entries.count()),
        steps_size(arguments.kind == StreamWeightKind::Hyper
                       ? 0
                       : 2 * arguments.iterations * entries.streams * entries.streams),
        steps(carver.take<Batch>(segments.threads() * steps_size)) {}

 private:
  static std::int64_t grain(const StreamWeightsBackward& arguments, const StreamEntries& entries) {
    if (arguments.kind == StreamWeightKind::Hyper)
      return row_grain(entries.count() * kBatch, kExpensiveElements);
    return row_grain(entries.count() * kBatch * arguments.iterations, kCheapElements);
  }
};

/// Adds to the `count` sums of dweights, and behind them to those of dweights * tanh(raw).
template <class T>
void hyper_row_backward(const WeightMap<T>& map, const T* raw, const float* dweights, T* draw, double* sums) {
  const float* scales = map.scales.data();
  const std::int64_t count = map.count;
  float products[kMaxStreamEntries];
#pragma omp simd
  for (std::int64_t k = 0; k < count; ++k) {
    const float tanh = vector_tanh(static_cast<float>(raw[k]));
    products[k] = dweights[k] * tanh;
    store(dweights[k] * scales[k] * (1.0F - tanh * tanh), &draw[k]);
  }
  for (std::int64_t k = 0; k < count; ++k) {
    sums[k] += static_cast<double>(dweights[k]);
    sums[count + k] += static_cast<double>(products[k]);
  }
}

/// From the gradient of the mixing matrix, in dweights, to that of its logits.
template <class T>
void sinkhorn_backward(const WeightMap<T>& map, const BatchEntries& raw, Batch* steps,
                       BatchEntries& gradients) {
  const std::int64_t n = map.entries.streams, size = n * n;
  exponentiate(map, raw, steps);
  normalize(steps, Lines::columns(n), steps);
  for (int t = 1; t < 2 * map.iterations; ++t)
    normalize(steps + (t - 1) * size, t % 2 == 0 ? Lines::columns(n) : Lines::rows(n), steps + t * size);
  const Batch* result = steps + (2 * map.iterations - 1) * size;
  BatchMatrix gradient;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const Batch& upstream = gradients[static_cast<std::size_t>(map.entries.mix(i, j))];
      Batch& start = gradient[static_cast<std::size_t>(i * n + j)];
#pragma omp simd
      for (std::int64_t lane = 0; lane < kBatch; ++lane)
        start.of[lane] = upstream.of[lane] * result[i * n + j].of[lane];
    }
  for (int t = 2 * map.iterations - 1; t >= 0; --t)
    normalize_backward(steps + t * size, t % 2 == 0 ? Lines::columns(n) : Lines::rows(n), gradient.data());
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      gradients[static_cast<std::size_t>(map.entries.mix(i, j))] =
          gradient[static_cast<std::size_t>(i * n + j)];
}

/// gradient *= factor s (1 - s), with s = sigmoid(logit).
void sigmoid_backward(const Batch& logit, float factor, Batch& gradient) {
  const Batch s = sigmoid(logit);
#pragma omp simd
  for (std::int64_t lane = 0; lane < kBatch; ++lane)
    gradient.of[lane] *= factor * s.of[lane] * (1.0F - s.of[lane]);
}

template <class T>
void manifold_batch_backward(const WeightMap<T>& map, std::int64_t batch, const Rows<float>& dweights,
                             Batch* steps, const Rows<T>& draw, double* sums) {
  const StreamEntries& entries = map.entries;
  const std::int64_t first = batch * kBatch, rows = map.rows_in(batch), count = map.count;
  BatchEntries raw, gradients;  // of the weights, then of the logits
  load_batch(map.raw, first, rows, count, raw);
  load_batch(dweights, first, rows, count, gradients);
  sinkhorn_backward(map, raw, steps, gradients);
  for (std::int64_t i = 0; i < entries.streams; ++i) {
    const std::int64_t read = entries.read(i), write = entries.write(i);
    sigmoid_backward(logits(map, raw, read), 1.0F, gradients[static_cast<std::size_t>(read)]);
    sigmoid_backward(logits(map, raw, write), 2.0F, gradients[static_cast<std::size_t>(write)]);
  }
  for (std::int64_t k = 0; k < count; ++k) {
    const float *gradient = gradients[static_cast<std::size_t>(k)].of,
                *what = raw[static_cast<std::size_t>(k)].of;
    for (std::int64_t lane = 0; lane < rows; ++lane) {
      sums[k] += static_cast<double>(gradient[lane]);
      sums[count + k] += static_cast<double>(gradient[lane]) * static_cast<double>(what[lane]);
      store(map.scale(k) * gradient[lane], &draw[first + lane][k]);
    }
  }
}

template <class T>
void backward(const StreamWeightsBackward& arguments) {
  const char* op = "stream_weights_backward";
  const WeightMap<T> map(op, arguments);
  const Rows<float> dweights(op, "dweights", arguments.dweights, map.rows, map.count);
  const Rows<T> draw(op, "draw", arguments.draw, map.rows, map.count);
  float* dbase = vector_of<float>(op, "dbase", arguments.dbase, map.count);
  float* dscales = vector_of<float>(op, "dscales", arguments.dscales, map.scale_count);
  WorkspaceCarver carver(arguments.workspace);
  const BackwardScratch scratch(arguments, map.entries, carver);
  scratch.segments.run([&](int thread, std::int64_t begin, std::int64_t end, double* sums) {
    for (std::int64_t batch = begin; batch < end; ++batch) {
      if (map.hyper) {
        const std::int64_t first = batch * kBatch;
        for (std::int64_t r = first; r < first + map.rows_in(batch); ++r)
          hyper_row_backward(map, map.raw[r], dweights[r], draw[r], sums);
      } else {
        manifold_batch_backward(map, batch, dweights, scratch.steps + thread * scratch.steps_size, draw,
                                sums);
      }
    }
  });
  scratch.segments.add_to(dbase, 0, map.count);
  std::array<double, 3> scale_sums{};
  for (std::int64_t k = 0; k < map.count; ++k)
    scale_sums[static_cast<std::size_t>(map.scale_index(k))] += scratch.segments.total(map.count + k);
  for (std::int64_t s = 0; s < map.scale_count; ++s)
    dscales[s] = static_cast<float>(dscales[s] + scale_sums[static_cast<std::size_t>(s)]);
}

}  // namespace

void CpuStreamMix::stream_weights(Stream&, const StreamWeights& arguments) const {
  with_compute("stream_weights", arguments.raw.dtype,
               [&](auto element) { forward<decltype(element)>(arguments); });
}

void CpuStreamMix::stream_weights_backward(Stream&, const StreamWeightsBackward& arguments) const {
  with_compute("stream_weights_backward", arguments.raw.dtype,
               [&](auto element) { backward<decltype(element)>(arguments); });
}

std::size_t CpuStreamMix::stream_weights_backward_workspace(const StreamWeightsBackward& arguments) const {
  WorkspaceCarver carver;
  BackwardScratch(arguments, StreamEntries("stream_weights_backward", arguments.streams), carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
