// The mixing weights of hyper-connections from a projection of the row, and Sinkhorn's algorithm.
#include <cmath>

#include "backends/reference/ops.h"
#include "backends/reference/stream_mix.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

std::int64_t scales_of(const char* op, StreamWeightKind kind, int iterations) {
  if (kind == StreamWeightKind::Hyper) return 2;
  PLUMB_CHECK(kind == StreamWeightKind::Manifold, "{}: unknown kind {}", op, static_cast<int>(kind));
  PLUMB_CHECK(iterations >= 1 && iterations <= 100, "{}: iterations is {}, not in [1, 100]", op, iterations);
  return 3;
}

/// Which scale an entry is multiplied by.
std::int64_t scale_index(StreamWeightKind kind, const StreamEntries& entries, std::int64_t entry) {
  const std::int64_t place = entry % (entries.streams + 2);  // read, write, mix, mix, ...
  if (place == 1) return 1;
  return kind == StreamWeightKind::Hyper || place == 0 ? 0 : 2;
}

/// An n x n matrix in scratch memory, and the steps of Sinkhorn's algorithm on it.
struct Matrix {
  double* data;
  std::int64_t n;

  double& at(std::int64_t i, std::int64_t j) const { return data[i * n + j]; }
  double& at(bool by_column, std::int64_t line, std::int64_t k) const {
    return by_column ? at(k, line) : at(line, k);
  }
  /// Divides every row, or column, of `from` by its sum.
  void normalize(const Matrix& from, bool by_column) const {
    for (std::int64_t line = 0; line < n; ++line) {
      double sum = 0;
      for (std::int64_t k = 0; k < n; ++k) sum += from.at(by_column, line, k);
      for (std::int64_t k = 0; k < n; ++k) at(by_column, line, k) = from.at(by_column, line, k) / sum;
    }
  }
  /// This holds the gradient of what normalize made of `from`; becomes the gradient of `from`.
  void normalize_backward(const Matrix& from, const Matrix& made, bool by_column) const {
    for (std::int64_t line = 0; line < n; ++line) {
      double sum = 0, product = 0;
      for (std::int64_t k = 0; k < n; ++k) {
        sum += from.at(by_column, line, k);
        product += at(by_column, line, k) * made.at(by_column, line, k);
      }
      for (std::int64_t k = 0; k < n; ++k) at(by_column, line, k) = (at(by_column, line, k) - product) / sum;
    }
  }
};

/// exp of logit(i, j) up to a factor for each column, which the first step divides out again.
template <class Logit>
void exponentiate(const Matrix& matrix, Logit&& logit) {
  for (std::int64_t j = 0; j < matrix.n; ++j) {
    double largest = logit(0, j);
    for (std::int64_t i = 1; i < matrix.n; ++i) largest = std::max(largest, logit(i, j));
    for (std::int64_t i = 0; i < matrix.n; ++i) matrix.at(i, j) = std::exp(logit(i, j) - largest);
  }
}

template <class T>
struct WeightMap {
  StreamEntries entries;
  StreamWeightKind kind;
  std::int64_t rows, scale_count;
  Rows<T> raw;
  Vector<T> base, scales;

  template <class Arguments>
  WeightMap(const char* op, const Arguments& arguments)
      : entries(op, arguments.streams),
        kind(arguments.kind),
        rows(arguments.raw.rows()),
        scale_count(scales_of(op, arguments.kind, arguments.iterations)),
        raw(op, "raw", arguments.raw, rows, entries.count()),
        base(op, "base", arguments.base, entries.count()),
        scales(op, "scales", arguments.scales, scale_count) {}

  double scale(std::int64_t entry) const { return scales[scale_index(kind, entries, entry)]; }
  double logit(std::int64_t r, std::int64_t entry) const {
    return base[entry] + scale(entry) * raw[r][entry];
  }
};

template <class T>
void forward(const StreamWeights& arguments) {
  const char* op = "stream_weights";
  const WeightMap<T> map(op, arguments);
  const StreamEntries& entries = map.entries;
  const std::int64_t n = entries.streams;
  const Rows<T> weights(op, "weights", arguments.weights, map.rows, entries.count());
  for (std::int64_t r = 0; r < map.rows; ++r) {
    if (map.kind == StreamWeightKind::Hyper) {
      for (std::int64_t k = 0; k < entries.count(); ++k)
        weights[r][k] = static_cast<T>(map.base[k] + map.scale(k) * std::tanh(double{map.raw[r][k]}));
      continue;
    }
    double numbers[kMaxStreams * kMaxStreams];
    const Matrix matrix{numbers, n};
    exponentiate(matrix, [&](auto i, auto j) { return map.logit(r, entries.mix(i, j)); });
    for (int t = 0; t < arguments.iterations; ++t) {
      matrix.normalize(matrix, true);
      matrix.normalize(matrix, false);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      weights[r][entries.read(i)] = static_cast<T>(sigmoid(map.logit(r, entries.read(i))));
      weights[r][entries.write(i)] = static_cast<T>(2 * sigmoid(map.logit(r, entries.write(i))));
      for (std::int64_t j = 0; j < n; ++j) weights[r][entries.mix(i, j)] = static_cast<T>(matrix.at(i, j));
    }
  }
}

/// What Sinkhorn's algorithm goes through, kept for its backward pass.
class SinkhornSteps {
 public:
  static std::int64_t doubles(std::int64_t n, int iterations) { return (2 * iterations + 2) * n * n; }

  SinkhornSteps(double* memory, std::int64_t n, int iterations)
      : memory_(memory), n_(n), half_steps_(2 * iterations) {}

  Matrix gradient() const { return {memory_, n_}; }
  template <class Logit>
  void run(Logit&& logit) const {
    exponentiate(step(0), logit);
    for (int t = 0; t < half_steps_; ++t) step(t + 1).normalize(step(t), t % 2 == 0);
  }
  /// From the gradient of the result to that of the logits, in gradient().
  void run_backward() const {
    for (int t = half_steps_ - 1; t >= 0; --t)
      gradient().normalize_backward(step(t), step(t + 1), t % 2 == 0);
    for (std::int64_t k = 0; k < n_ * n_; ++k) gradient().data[k] *= step(0).data[k];
  }

 private:
  Matrix step(int t) const { return {memory_ + (t + 1) * n_ * n_, n_}; }

  double* memory_;
  std::int64_t n_;
  int half_steps_;
};

template <class T>
void backward(const StreamWeightsBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "stream_weights_backward";
  const WeightMap<T> map(op, arguments);
  const StreamEntries& entries = map.entries;
  const std::int64_t n = entries.streams, count = entries.count();
  const Rows<T> dweights(op, "dweights", arguments.dweights, map.rows, count);
  const Rows<T> draw(op, "draw", arguments.draw, map.rows, count);
  const Vector<T> dbase(op, "dbase", arguments.dbase, count);
  const Vector<T> dscales(op, "dscales", arguments.dscales, map.scale_count);
  Scratch scratch(op, arguments.workspace, workspace_bytes);
  double *base_sums = scratch.take(count), *scale_sums = scratch.take(map.scale_count);
  const bool hyper = map.kind == StreamWeightKind::Hyper;
  const SinkhornSteps sinkhorn(
      hyper ? nullptr : scratch.take(SinkhornSteps::doubles(n, arguments.iterations)), n,
      arguments.iterations);

  for (std::int64_t r = 0; r < map.rows; ++r) {
    // dsum is the gradient of base + scale * what, slope that of `what` by raw.
    const auto spread = [&](std::int64_t k, double dsum, double what, double slope) {
      base_sums[k] += dsum;
      scale_sums[scale_index(map.kind, entries, k)] += dsum * what;
      draw[r][k] = static_cast<T>(dsum * map.scale(k) * slope);
    };
    if (hyper) {
      for (std::int64_t k = 0; k < count; ++k) {
        const double tanh = std::tanh(double{map.raw[r][k]});
        spread(k, dweights[r][k], tanh, 1 - tanh * tanh);
      }
      continue;
    }
    sinkhorn.run([&](auto i, auto j) { return map.logit(r, entries.mix(i, j)); });
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) sinkhorn.gradient().at(i, j) = dweights[r][entries.mix(i, j)];
    sinkhorn.run_backward();
    for (std::int64_t i = 0; i < n; ++i) {
      for (const std::int64_t k : {entries.read(i), entries.write(i)}) {
        const double s = sigmoid(map.logit(r, k));
        spread(k, (k == entries.write(i) ? 2 : 1) * s * (1 - s) * dweights[r][k], map.raw[r][k], 1);
      }
      for (std::int64_t j = 0; j < n; ++j) {
        const std::int64_t k = entries.mix(i, j);
        spread(k, sinkhorn.gradient().at(i, j), map.raw[r][k], 1);
      }
    }
  }
  dbase.add(base_sums);
  dscales.add(scale_sums);
}

}  // namespace

void ReferenceStreamMix::stream_weights(Stream&, const StreamWeights& arguments) const {
  with_scalar("stream_weights", arguments.raw.dtype,
              [&](auto scalar) { forward<decltype(scalar)>(arguments); });
}

void ReferenceStreamMix::stream_weights_backward(Stream&, const StreamWeightsBackward& arguments) const {
  with_scalar("stream_weights_backward", arguments.raw.dtype, [&](auto scalar) {
    backward<decltype(scalar)>(arguments, stream_weights_backward_workspace(arguments));
  });
}

std::size_t ReferenceStreamMix::stream_weights_backward_workspace(
    const StreamWeightsBackward& arguments) const {
  const char* op = "stream_weights_backward";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t scales = scales_of(op, arguments.kind, arguments.iterations);
  const bool hyper = arguments.kind == StreamWeightKind::Hyper;
  return scratch_bytes(entries.count() + scales +
                       (hyper ? 0 : SinkhornSteps::doubles(entries.streams, arguments.iterations)));
}

}  // namespace plumb::reference
