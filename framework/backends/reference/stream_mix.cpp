#include "backends/reference/stream_mix.h"

#include <array>

#include "backends/reference/ops.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

/// Mixing weights of each row, or one row of them for all.
template <class T>
class MixWeights {
 public:
  MixWeights(const char* op, const Tensor& weights, const StreamEntries& entries, std::int64_t rows)
      : count_(weights.rows() == 1 ? 1 : rows),
        served_(weights.rows() == 1 ? rows : 1),
        weights_(op, "weights", weights, count_, entries.count()) {}

  const T* row(std::int64_t r) const { return weights_[r / served_]; }
  /// Rows of weights, and how many rows of the streams each of them serves.
  std::int64_t count() const { return count_; }
  std::int64_t served() const { return served_; }

 private:
  std::int64_t count_, served_;
  Rows<T> weights_;
};

/// sum of a(r, c) b(r, c) over the rows that row m of the weights serves.
template <class T, class Left, class Right>
double served_sum(const MixWeights<T>& weights, std::int64_t m, std::int64_t cols, Left&& left,
                  Right&& right) {
  double sum = 0;
  for (std::int64_t r = m * weights.served(); r < (m + 1) * weights.served(); ++r)
    for (std::int64_t c = 0; c < cols; ++c) sum += static_cast<double>(left(r, c)) * right(r, c);
  return sum;
}

template <class T>
void read(const StreamRead& arguments) {
  const char* op = "stream_read";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.h.rows(), cols = arguments.h.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), h(op, "h", arguments.h, rows, cols);
  const MixWeights<T> weights(op, arguments.weights, entries, rows);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i)
        sum += static_cast<double>(weights.row(r)[entries.read(i)]) * x[r][i * cols + c];
      h[r][c] = static_cast<T>(sum);
    }
  }
}

template <class T>
void read_backward(const StreamReadBackward& arguments) {
  const char* op = "stream_read_backward";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.dh.rows(), cols = arguments.dh.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), dx(op, "dx", arguments.dx, rows, n * cols);
  const Rows<T> dh(op, "dh", arguments.dh, rows, cols);
  const MixWeights<T> weights(op, arguments.weights, entries, rows);
  const Rows<T> dweights(op, "dweights", arguments.dweights, weights.count(), entries.count());
  for (std::int64_t m = 0; m < weights.count(); ++m) {
    for (std::int64_t i = 0; i < n; ++i) {
      T& dread = dweights[m][entries.read(i)];
      dread = static_cast<T>(dread + served_sum(
                                         weights, m, cols, [&](auto r, auto c) { return dh[r][c]; },
                                         [&](auto r, auto c) { return x[r][i * cols + c]; }));
    }
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < cols; ++c) {
        T& entry = dx[r][i * cols + c];
        entry = static_cast<T>(entry + static_cast<double>(weights.row(r)[entries.read(i)]) * dh[r][c]);
      }
}

template <class T>
void write(const StreamWrite& arguments) {
  const char* op = "stream_write";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.o.rows(), cols = arguments.o.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), o(op, "o", arguments.o, rows, cols);
  const Rows<T> out(op, "out", arguments.out, rows, n * cols);
  const MixWeights<T> weights(op, arguments.weights, entries, rows);
  PLUMB_CHECK(arguments.out.data != arguments.x.data && arguments.out.data != arguments.o.data,
              "{}: out overlaps x or o", op);
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = weights.row(r);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t c = 0; c < cols; ++c) {
        double sum = static_cast<double>(row[entries.write(j)]) * o[r][c];
        for (std::int64_t i = 0; i < n; ++i)
          sum += static_cast<double>(row[entries.mix(i, j)]) * x[r][i * cols + c];
        out[r][j * cols + c] = static_cast<T>(sum);
      }
    }
  }
}

template <class T>
void write_backward(const StreamWriteBackward& arguments) {
  const char* op = "stream_write_backward";
  const StreamEntries entries(op, arguments.streams);
  const std::int64_t rows = arguments.o.rows(), cols = arguments.o.cols(), n = entries.streams;
  const Rows<T> x(op, "x", arguments.x, rows, n * cols), o(op, "o", arguments.o, rows, cols);
  const Rows<T> dout(op, "dout", arguments.dout, rows, n * cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, n * cols), d_o(op, "do", arguments.do_, rows, cols);
  const MixWeights<T> weights(op, arguments.weights, entries, rows);
  const Rows<T> dweights(op, "dweights", arguments.dweights, weights.count(), entries.count());

  const auto add = [&](std::int64_t m, std::int64_t entry, std::int64_t j, auto&& factor) {
    T& gradient = dweights[m][entry];
    gradient = static_cast<T>(gradient + served_sum(weights, m, cols, factor,
                                                    [&](auto r, auto c) { return dout[r][j * cols + c]; }));
  };
  for (std::int64_t m = 0; m < weights.count(); ++m) {
    for (std::int64_t j = 0; j < n; ++j) {
      add(m, entries.write(j), j, [&](auto r, auto c) { return o[r][c]; });
      for (std::int64_t i = 0; i < n; ++i)
        add(m, entries.mix(i, j), j, [&](auto r, auto c) { return x[r][i * cols + c]; });
    }
  }

  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = weights.row(r);
    for (std::int64_t c = 0; c < cols; ++c) {
      std::array<double, kMaxStreams> upstream{};  // read before dx, which may be the same view
      for (std::int64_t j = 0; j < n; ++j) upstream[static_cast<std::size_t>(j)] = dout[r][j * cols + c];
      double to_branch = 0;
      for (std::int64_t j = 0; j < n; ++j)
        to_branch += row[entries.write(j)] * upstream[static_cast<std::size_t>(j)];
      for (std::int64_t i = 0; i < n; ++i) {
        double to_stream = 0;
        for (std::int64_t j = 0; j < n; ++j)
          to_stream += row[entries.mix(i, j)] * upstream[static_cast<std::size_t>(j)];
        dx[r][i * cols + c] = static_cast<T>(to_stream);
      }
      d_o[r][c] = static_cast<T>(to_branch);
    }
  }
}

}  // namespace

void ReferenceStreamMix::stream_read(Stream&, const StreamRead& arguments) const {
  with_scalar("stream_read", arguments.x.dtype, [&](auto scalar) { read<decltype(scalar)>(arguments); });
}

void ReferenceStreamMix::stream_read_backward(Stream&, const StreamReadBackward& arguments) const {
  with_scalar("stream_read_backward", arguments.x.dtype,
              [&](auto scalar) { read_backward<decltype(scalar)>(arguments); });
}

std::size_t ReferenceStreamMix::stream_read_backward_workspace(const StreamReadBackward&) const { return 0; }

void ReferenceStreamMix::stream_write(Stream&, const StreamWrite& arguments) const {
  with_scalar("stream_write", arguments.x.dtype, [&](auto scalar) { write<decltype(scalar)>(arguments); });
}

void ReferenceStreamMix::stream_write_backward(Stream&, const StreamWriteBackward& arguments) const {
  with_scalar("stream_write_backward", arguments.x.dtype,
              [&](auto scalar) { write_backward<decltype(scalar)>(arguments); });
}

std::size_t ReferenceStreamMix::stream_write_backward_workspace(const StreamWriteBackward&) const {
  return 0;
}

}  // namespace plumb::reference
