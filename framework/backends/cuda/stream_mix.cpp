#include "backends/cuda/stream_mix.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/stream_entries.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

StreamEntries checked_entries(const char* op, std::int64_t streams) {
  PLUMB_CHECK(streams >= 1 && streams <= kMaxStreams, "{}: streams is {}, not in [1, {}]", op, streams,
              kMaxStreams);
  return {static_cast<int>(streams)};
}

/// Of each row, or one row of them for all.
void require_weights(const char* op, const char* name, const Tensor& tensor, const Tensor& weights,
                     const StreamEntries& entries, std::int64_t rows) {
  require_rows(op, name, tensor, DType::Float32, weights.rows() == 1 ? 1 : rows, entries.count());
}

/// Null where every row has weights of its own, whose gradients need no sum over rows.
double* weight_partials(std::int64_t streams, const Tensor& weights, std::int64_t rows,
                        WorkspaceCarver& carver) {
  if (weights.rows() != 1 || rows == 0) return nullptr;
  return carver.take<double>(StreamEntries{static_cast<int>(streams)}.count() * stream_mix_blocks(rows));
}

std::int64_t scales_of(const char* op, StreamWeightKind kind, int iterations) {
  if (kind == StreamWeightKind::Hyper) return 2;
  PLUMB_CHECK(kind == StreamWeightKind::Manifold, "{}: unknown kind {}", op, static_cast<int>(kind));
  PLUMB_CHECK(iterations >= 1 && iterations <= 100, "{}: iterations is {}, not in [1, 100]", op, iterations);
  return 3;
}

template <class Arguments>
void require_weight_map(const char* op, const Arguments& arguments) {
  const StreamEntries entries = checked_entries(op, arguments.streams);
  const Tensor& raw = arguments.raw;
  require_compute(op, raw.dtype);
  require_rows(op, "raw", raw, raw.dtype, raw.rows(), entries.count());
  require_vector(op, "base", arguments.base, DType::Float32, entries.count());
  require_vector(op, "scales", arguments.scales, DType::Float32,
                 scales_of(op, arguments.kind, arguments.iterations));
}

double* map_partials(const StreamWeightsBackward& arguments, WorkspaceCarver& carver) {
  const char* op = "stream_weights_backward";
  const std::int64_t sums =
      checked_entries(op, arguments.streams).count() + scales_of(op, arguments.kind, arguments.iterations);
  return carver.take<double>(sums * stream_weights_blocks(arguments));
}

}  // namespace

void CudaStreamMix::stream_read(Stream& stream, const StreamRead& arguments) const {
  const char* op = "stream_read";
  const StreamEntries entries = checked_entries(op, arguments.streams);
  const Tensor &x = arguments.x, &h = arguments.h;
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, h.rows(), arguments.streams * h.cols());
  require_rows(op, "h", h, x.dtype, h.rows(), h.cols());
  require_weights(op, "weights", arguments.weights, arguments.weights, entries, h.rows());
  if (h.elements() > 0) launch_stream_read(handle_of(stream), arguments);
}

void CudaStreamMix::stream_read_backward(Stream& stream, const StreamReadBackward& arguments) const {
  const char* op = "stream_read_backward";
  const StreamEntries entries = checked_entries(op, arguments.streams);
  const Tensor &x = arguments.x, &dh = arguments.dh;
  const std::int64_t rows = dh.rows();
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, rows, arguments.streams * dh.cols());
  require_rows(op, "dx", arguments.dx, x.dtype, rows, arguments.streams * dh.cols());
  require_rows(op, "dh", dh, x.dtype, rows, dh.cols());
  require_weights(op, "weights", arguments.weights, arguments.weights, entries, rows);
  require_weights(op, "dweights", arguments.dweights, arguments.weights, entries, rows);
  if (dh.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  double* partials = weight_partials(arguments.streams, arguments.weights, rows, carver);
  launch_stream_read_backward(handle_of(stream), arguments, partials);
}

std::size_t CudaStreamMix::stream_read_backward_workspace(const StreamReadBackward& arguments) const {
  checked_entries("stream_read_backward", arguments.streams);
  WorkspaceCarver carver;
  weight_partials(arguments.streams, arguments.weights, arguments.dh.rows(), carver);
  return carver.bytes();
}

void CudaStreamMix::stream_write(Stream& stream, const StreamWrite& arguments) const {
  const char* op = "stream_write";
  const StreamEntries entries = checked_entries(op, arguments.streams);
  const Tensor &x = arguments.x, &o = arguments.o, &out = arguments.out;
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, o.rows(), arguments.streams * o.cols());
  require_rows(op, "o", o, x.dtype, o.rows(), o.cols());
  require_rows(op, "out", out, x.dtype, o.rows(), arguments.streams * o.cols());
  require_weights(op, "weights", arguments.weights, arguments.weights, entries, o.rows());
  PLUMB_CHECK(out.data != x.data && out.data != o.data, "{}: out overlaps x or o", op);
  if (o.elements() > 0) launch_stream_write(handle_of(stream), arguments);
}

void CudaStreamMix::stream_write_backward(Stream& stream, const StreamWriteBackward& arguments) const {
  const char* op = "stream_write_backward";
  const StreamEntries entries = checked_entries(op, arguments.streams);
  const Tensor &x = arguments.x, &o = arguments.o;
  const std::int64_t rows = o.rows(), cols = o.cols();
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, rows, arguments.streams * cols);
  require_rows(op, "o", o, x.dtype, rows, cols);
  require_rows(op, "dout", arguments.dout, x.dtype, rows, arguments.streams * cols);
  require_rows(op, "dx", arguments.dx, x.dtype, rows, arguments.streams * cols);
  require_rows(op, "do", arguments.do_, x.dtype, rows, cols);
  require_weights(op, "weights", arguments.weights, arguments.weights, entries, rows);
  require_weights(op, "dweights", arguments.dweights, arguments.weights, entries, rows);
  if (o.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  double* partials = weight_partials(arguments.streams, arguments.weights, rows, carver);
  launch_stream_write_backward(handle_of(stream), arguments, partials);
}

std::size_t CudaStreamMix::stream_write_backward_workspace(const StreamWriteBackward& arguments) const {
  checked_entries("stream_write_backward", arguments.streams);
  WorkspaceCarver carver;
  weight_partials(arguments.streams, arguments.weights, arguments.o.rows(), carver);
  return carver.bytes();
}

void CudaStreamMix::stream_weights(Stream& stream, const StreamWeights& arguments) const {
  const char* op = "stream_weights";
  const Tensor& raw = arguments.raw;
  require_weight_map(op, arguments);
  require_rows(op, "weights", arguments.weights, DType::Float32, raw.rows(), raw.cols());
  if (raw.elements() > 0) launch_stream_weights(handle_of(stream), arguments);
}

void CudaStreamMix::stream_weights_backward(Stream& stream, const StreamWeightsBackward& arguments) const {
  const char* op = "stream_weights_backward";
  const Tensor& raw = arguments.raw;
  require_weight_map(op, arguments);
  require_rows(op, "dweights", arguments.dweights, DType::Float32, raw.rows(), raw.cols());
  require_rows(op, "draw", arguments.draw, raw.dtype, raw.rows(), raw.cols());
  require_vector(op, "dbase", arguments.dbase, DType::Float32, raw.cols());
  require_vector(op, "dscales", arguments.dscales, DType::Float32, arguments.scales.elements());
  if (raw.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_stream_weights_backward(handle_of(stream), arguments, map_partials(arguments, carver));
}

std::size_t CudaStreamMix::stream_weights_backward_workspace(const StreamWeightsBackward& arguments) const {
  WorkspaceCarver carver;
  map_partials(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cuda
