#include <array>

#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/row_segments.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/stream_entries.h"
#include "backends/cpu/vector_math.h"
#include "backends/cpu/widen.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

/// Columns that are worked on at once, so that those of all streams stay in L1.
constexpr std::int64_t kBlock = 256;
struct alignas(64) Block {
  float values[kBlock];
};

/// Mixing weights of each row, or one row of them for all.
class MixWeights {
 public:
  MixWeights(const char* op, const Tensor& weights, const StreamEntries& entries, std::int64_t rows)
      : shared_(weights.rows() == 1), weights_(op, "weights", weights, shared_ ? 1 : rows, entries.count()) {}
  bool shared() const { return shared_; }
  const float* row(std::int64_t r) const { return weights_[shared_ ? 0 : r]; }

 private:
  bool shared_;
  Rows<float> weights_;
};

/// Streams side by side: the same columns of each are `stride` elements apart, their weights `step`.
template <class T>
struct Group {
  const T* x;
  std::int64_t stride;
  std::int64_t step;
};

/// Calls body(first, indices) for groups of up to four of n streams, so that a pass over columns serves
/// several of them: `indices` is the index sequence of their number.
template <class Body>
void for_groups(std::int64_t n, Body&& body) {
  std::int64_t first = 0;
  for (; first + 4 <= n; first += 4) body(first, std::make_index_sequence<4>{});
  if (n - first == 3) body(first, std::make_index_sequence<3>{});
  if (n - first == 2) body(first, std::make_index_sequence<2>{});
  if (n - first == 1) body(first, std::make_index_sequence<1>{});
}

/// sum[c] += the sum over n streams of their weight times their entry, in ascending order.
template <class T>
void add_scaled(const Group<T>& group, const float* weights, std::int64_t n, std::int64_t width, float* sum) {
  for_groups(
      n, [&]<std::size_t... kIndices>(std::int64_t first, std::index_sequence<kIndices...>) {
        const float factors[] = {weights[(first + static_cast<std::int64_t>(kIndices)) * group.step]...};
        const T* const streams[] = {group.x +
                                    (first + static_cast<std::int64_t>(kIndices)) * group.stride...};
#pragma omp simd
        for (std::int64_t c = 0; c < width; ++c) {
          float value = sum[c];
          ((value += factors[kIndices] * static_cast<float>(streams[kIndices][c])), ...);
          sum[c] = value;
        }
      });
}

/// gradient of each weight += inner product of data with its stream.
void add_products(const Group<float>& group, const float* data, std::int64_t n, std::int64_t width,
                  double* gradient) {
  for_groups(
      n, [&]<std::size_t... kIndices>(std::int64_t first, std::index_sequence<kIndices...>) {
        const float* const streams[] = {group.x +
                                        (first + static_cast<std::int64_t>(kIndices)) * group.stride...};
        LanesValue lanes[sizeof...(kIndices)] = {};
        float rest[sizeof...(kIndices)] = {};
        std::int64_t c = 0;
        for (; c + kLanes <= width; c += kLanes) {
          const LanesValue values = lanes_at(data + c);
          ((lanes[kIndices] += values * lanes_at(streams[kIndices] + c)), ...);
        }
        for (; c < width; ++c) ((rest[kIndices] += data[c] * streams[kIndices][c]), ...);
        ((gradient[(first + static_cast<std::int64_t>(kIndices)) * group.step] +=
          static_cast<double>(sum_of_lanes(lanes[kIndices]) + rest[kIndices])),
         ...);
      });
}

template <class T>
void store_block(const Block& block, std::int64_t n, T* out) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(block.values[i], &out[i]);
}

template <class T>
void read_row(const StreamEntries& entries, const float* weights, const T* x, std::int64_t cols, T* h) {
  for (std::int64_t begin = 0; begin < cols; begin += kBlock) {
    const std::int64_t width = std::min(kBlock, cols - begin);
    Block sum{};
    const Group<T> streams{x + begin, cols, entries.step()};
    add_scaled(streams, weights + entries.read(0), entries.streams, width, sum.values);
    store_block(sum, width, h + begin);
  }
}

template <class T>
void read(const StreamRead& arguments) {
  const char* op = "stream_read";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.h.rows(), cols = arguments.h.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), h(op, "h", arguments.h, rows, cols);
  const MixWeights weights(op, arguments.weights, entries, rows);
  parallel_for(rows, row_grain(n * cols, kCheapElements),
               [&](std::int64_t r) { read_row(entries, weights.row(r), x[r], cols, h[r]); });
}

template <class T>
void write_row(const StreamEntries& entries, const float* weights, const T* x, const T* o, std::int64_t cols,
               T* out) {
  for (std::int64_t begin = 0; begin < cols; begin += kBlock) {
    const std::int64_t width = std::min(kBlock, cols - begin);
    for (std::int64_t j = 0; j < entries.streams; ++j) {
      Block sum{};
      add_scaled<T>({o + begin, 0, 0}, weights + entries.write(j), 1, width, sum.values);
      add_scaled<T>({x + begin, cols, entries.step()}, weights + entries.mix(0, j), entries.streams, width,
                    sum.values);
      store_block(sum, width, out + j * cols + begin);
    }
  }
}

template <class T>
void write(const StreamWrite& arguments) {
  const char* op = "stream_write";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.o.rows(), cols = arguments.o.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), o(op, "o", arguments.o, rows, cols);
  const Rows<T> out(op, "out", arguments.out, rows, n * cols);
  const MixWeights weights(op, arguments.weights, entries, rows);
  PLUMB_CHECK(arguments.out.data != arguments.x.data && arguments.out.data != arguments.o.data,
              "{}: out overlaps x or o", op);
  parallel_for(rows, row_grain(n * n * cols, kCheapElements),
               [&](std::int64_t r) { write_row(entries, weights.row(r), x[r], o[r], cols, out[r]); });
}

/// The backward pass over rows, with the gradients of the weights at places [first, last) of each stream.
class WeightGradients {
 public:
  WeightGradients(const char* op, const Tensor& dweights, const MixWeights& weights,
                  const StreamEntries& entries, std::int64_t rows)
      : entries_(entries),
        shared_(weights.shared()),
        dweights_(op, "dweights", dweights, shared_ ? 1 : rows, entries.count()) {}

  static RowSegments segments(const StreamEntries& entries, const Tensor& weights, std::int64_t rows,
                              std::int64_t row_elements, WorkspaceCarver& carver) {
    return RowSegments(carver, rows, row_grain(row_elements, kCheapElements),
                       weights.rows() == 1 ? entries.count() : 0);
  }

  /// run_row(r, gradient) adds the weights' gradients of a row to zeros.
  template <class RunRow>
  void run(const RowSegments& segments, std::int64_t first, std::int64_t last, RunRow&& run_row) const {
    segments.run([&](int, std::int64_t begin, std::int64_t end, double* sums) {
      std::array<double, kMaxStreamEntries> own;
      for (std::int64_t r = begin; r < end; ++r) {
        double* gradient = shared_ ? sums : own.data();
        if (!shared_) std::fill(gradient, gradient + entries_.count(), 0.0);
        run_row(r, gradient);
        if (!shared_) add(gradient, first, last, dweights_[r]);
      }
    });
    if (!shared_) return;
    std::array<double, kMaxStreamEntries> totals;
    for (std::int64_t entry = 0; entry < entries_.count(); ++entry)
      totals[static_cast<std::size_t>(entry)] = segments.total(entry);
    add(totals.data(), first, last, dweights_[0]);
  }

 private:
  void add(const double* gradient, std::int64_t first, std::int64_t last, float* out) const {
    for (std::int64_t i = 0; i < entries_.streams; ++i)
      for (std::int64_t entry = entries_.read(i) + first; entry < entries_.read(i) + last; ++entry)
        out[entry] = static_cast<float>(out[entry] + gradient[entry]);
  }

  StreamEntries entries_;
  bool shared_;
  Rows<float> dweights_;
};

RowSegments read_segments(const StreamEntries& entries, const StreamReadBackward& arguments,
                          WorkspaceCarver& carver) {
  return WeightGradients::segments(entries, arguments.weights, arguments.dh.rows(),
                                   entries.streams * arguments.dh.cols(), carver);
}

template <class T>
void read_backward(const StreamReadBackward& arguments) {
  const char* op = "stream_read_backward";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.dh.rows(), cols = arguments.dh.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), dx(op, "dx", arguments.dx, rows, n * cols);
  const Rows<T> dh(op, "dh", arguments.dh, rows, cols);
  const MixWeights weights(op, arguments.weights, entries, rows);
  const WeightGradients gradients(op, arguments.dweights, weights, entries, rows);
  WorkspaceCarver carver(arguments.workspace);
  gradients.run(read_segments(entries, arguments, carver), 0, 1, [&](std::int64_t r, double* gradient) {
    const T* upstream = dh[r];
    for (std::int64_t i = 0; i < n; ++i) {
      gradient[entries.read(i)] += static_cast<double>(dot(x[r] + i * cols, upstream, cols));
      const float factor = weights.row(r)[entries.read(i)];
      T* to = dx[r] + i * cols;
#pragma omp simd
      for (std::int64_t c = 0; c < cols; ++c)
        store(static_cast<float>(to[c]) + factor * static_cast<float>(upstream[c]), &to[c]);
    }
  });
}

template <class T>
struct WriteBackwardRow {
  const T *x, *o, *dout;
  const float* weights;
  T *dx, *d_o;
};

template <class T>
void write_backward_row(const StreamEntries& entries, const WriteBackwardRow<T>& row, std::int64_t cols,
                        double* gradient) {
  const std::int64_t n = entries.streams;
  alignas(64) float upstream[kMaxStreams * kBlock];
  Block data;
  // What stands in data meets every stream's gradient; `entry` is its weight for stream 0.
  const auto meet = [&](std::int64_t entry, std::int64_t step, std::int64_t width, T* to) {
    const Group<float> streams{upstream, kBlock, step};
    Block sum{};
    add_products(streams, data.values, n, width, gradient + entry);
    add_scaled(streams, row.weights + entry, n, width, sum.values);
    store_block(sum, width, to);
  };
  for (std::int64_t begin = 0; begin < cols; begin += kBlock) {
    const std::int64_t width = std::min(kBlock, cols - begin);
    for (std::int64_t j = 0; j < n; ++j)  // all before dx, which may be the same view
      widen(row.dout + j * cols + begin, upstream + j * kBlock, width);
    widen(row.o + begin, data.values, width);
    meet(entries.write(0), entries.step(), width, row.d_o + begin);
    for (std::int64_t i = 0; i < n; ++i) {
      widen(row.x + i * cols + begin, data.values, width);
      meet(entries.mix(i, 0), 1, width, row.dx + i * cols + begin);
    }
  }
}

RowSegments write_segments(const StreamEntries& entries, const StreamWriteBackward& arguments,
                           WorkspaceCarver& carver) {
  return WeightGradients::segments(entries, arguments.weights, arguments.o.rows(),
                                   entries.count() * arguments.o.cols(), carver);
}

template <class T>
void write_backward(const StreamWriteBackward& arguments) {
  const char* op = "stream_write_backward";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.o.rows(), cols = arguments.o.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), o(op, "o", arguments.o, rows, cols);
  const Rows<T> dout(op, "dout", arguments.dout, rows, n * cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, n * cols), d_o(op, "do", arguments.do_, rows, cols);
  const MixWeights weights(op, arguments.weights, entries, rows);
  const WeightGradients gradients(op, arguments.dweights, weights, entries, rows);
  WorkspaceCarver carver(arguments.workspace);
  gradients.run(write_segments(entries, arguments, carver), 1, n + 2, [&](std::int64_t r, double* gradient) {
    write_backward_row<T>(entries, {x[r], o[r], dout[r], weights.row(r), dx[r], d_o[r]}, cols, gradient);
  });
}

}  // namespace

void CpuStreamMix::stream_read(Stream&, const StreamRead& arguments) const {
  with_compute("stream_read", arguments.x.dtype, [&](auto element) { read<decltype(element)>(arguments); });
}

void CpuStreamMix::stream_read_backward(Stream&, const StreamReadBackward& arguments) const {
  with_compute("stream_read_backward", arguments.x.dtype,
               [&](auto element) { read_backward<decltype(element)>(arguments); });
}

std::size_t CpuStreamMix::stream_read_backward_workspace(const StreamReadBackward& arguments) const {
  WorkspaceCarver carver;
  read_segments(StreamEntries("stream_read_backward", arguments.streams), arguments, carver);
  return carver.bytes();
}

void CpuStreamMix::stream_write(Stream&, const StreamWrite& arguments) const {
  with_compute("stream_write", arguments.x.dtype, [&](auto element) { write<decltype(element)>(arguments); });
}

void CpuStreamMix::stream_write_backward(Stream&, const StreamWriteBackward& arguments) const {
  with_compute("stream_write_backward", arguments.x.dtype,
               [&](auto element) { write_backward<decltype(element)>(arguments); });
}

std::size_t CpuStreamMix::stream_write_backward_workspace(const StreamWriteBackward& arguments) const {
  WorkspaceCarver carver;
  write_segments(StreamEntries("stream_write_backward", arguments.streams), arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
