#include "backends/cuda/observations.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

void require_x(const char* op, const Tensor& x) {
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
}

/// The bytes that `take(carver)` takes.
template <class Take>
std::size_t bytes_of(Take&& take) {
  WorkspaceCarver carver;
  take(carver);
  return carver.bytes();
}

RowBlocks square_blocks(const RowSquares& arguments) {
  return observed_row_blocks(arguments.x.rows(), arguments.x.cols(), size_of(arguments.x.dtype));
}
double* take_squares(WorkspaceCarver& carver, const RowSquares& arguments) {
  return carver.take<double>(2 * square_blocks(arguments).count);
}
double* take_counts(WorkspaceCarver& carver, const Tensor& x) { return carver.take<double>(entry_blocks(x)); }
float* take_maxima(WorkspaceCarver& carver, const ColumnMaxima& arguments) {
  return carver.take<float>(maxima_row_blocks(arguments.x).count * arguments.x.cols());
}
std::uint32_t* take_bins(WorkspaceCarver& carver, const MagnitudeHistogram& arguments) {
  return carver.take<std::uint32_t>(entry_blocks(arguments.x) * kMagnitudeBins);
}
SimilarityScratch take_similarity(WorkspaceCarver& carver, const TokenSimilarity& arguments) {
  SimilarityScratch scratch;
  const std::int64_t rows = arguments.x.rows();
  scratch.chunks = (arguments.x.cols() + 255) / 256;
  scratch.scales = carver.take<double>(rows);
  scratch.squares = carver.take<double>(sequences_of(rows, arguments.rows_per_sequence) * scratch.chunks);
  return scratch;
}

}  // namespace

void CudaObservations::row_squares(Stream& stream, const RowSquares& arguments) const {
  const char* op = "row_squares";
  require_x(op, arguments.x);
  require_vector(op, "sum", arguments.sum, DType::Float64, 1);
  optional_vector(op, "largest", arguments.largest, DType::Float64, 1);
  if (arguments.x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_row_squares(handle_of(stream), arguments, square_blocks(arguments), take_squares(carver, arguments));
}
std::size_t CudaObservations::row_squares_workspace(const RowSquares& arguments) const {
  return bytes_of([&](WorkspaceCarver& carver) { take_squares(carver, arguments); });
}

void CudaObservations::count_above(Stream& stream, const CountAbove& arguments) const {
  const char* op = "count_above";
  require_x(op, arguments.x);
  require_vector(op, "count", arguments.count, DType::Float64, 1);
  if (arguments.x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_count_above(handle_of(stream), arguments, take_counts(carver, arguments.x));
}
std::size_t CudaObservations::count_above_workspace(const CountAbove& arguments) const {
  return bytes_of([&](WorkspaceCarver& carver) { take_counts(carver, arguments.x); });
}

void CudaObservations::count_saturated(Stream& stream, const CountSaturated& arguments) const {
  const char* op = "count_saturated";
  require_x(op, arguments.x);
  require_vector(op, "alpha", arguments.alpha, DType::Float32, 1);
  optional_vector(op, "offset", arguments.offset, DType::Float32, 1);
  require_vector(op, "count", arguments.count, DType::Float64, 1);
  if (arguments.x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_count_saturated(handle_of(stream), arguments, take_counts(carver, arguments.x));
}
std::size_t CudaObservations::count_saturated_workspace(const CountSaturated& arguments) const {
  return bytes_of([&](WorkspaceCarver& carver) { take_counts(carver, arguments.x); });
}

void CudaObservations::column_maxima(Stream& stream, const ColumnMaxima& arguments) const {
  const char* op = "column_maxima";
  require_x(op, arguments.x);
  optional_vector(op, "bias", arguments.bias, DType::Float32, arguments.x.cols());
  require_vector(op, "maxima", arguments.maxima, DType::Float64, arguments.x.cols());
  if (arguments.x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_column_maxima(handle_of(stream), arguments, take_maxima(carver, arguments));
}
std::size_t CudaObservations::column_maxima_workspace(const ColumnMaxima& arguments) const {
  return bytes_of([&](WorkspaceCarver& carver) { take_maxima(carver, arguments); });
}

void CudaObservations::magnitude_histogram(Stream& stream, const MagnitudeHistogram& arguments) const {
  const char* op = "magnitude_histogram";
  require_x(op, arguments.x);
  require_vector(op, "counts", arguments.counts, DType::Float64, kMagnitudeBins);
  if (arguments.x.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_magnitude_histogram(handle_of(stream), arguments, take_bins(carver, arguments));
}
std::size_t CudaObservations::magnitude_histogram_workspace(const MagnitudeHistogram& arguments) const {
  return bytes_of([&](WorkspaceCarver& carver) { take_bins(carver, arguments); });
}

void CudaObservations::token_similarity(Stream& stream, const TokenSimilarity& arguments) const {
  const char* op = "token_similarity";
  const std::int64_t rows = arguments.x.rows(), tokens = arguments.rows_per_sequence;
  require_x(op, arguments.x);
  PLUMB_CHECK(tokens >= 1 && rows % tokens == 0, "{}: {} rows are no sequences of {}", op, rows, tokens);
  require_vector(op, "sums", arguments.sums, DType::Float64, kSimilaritySums);
  if (arguments.x.elements() == 0 || tokens == 1) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_token_similarity(handle_of(stream), arguments, take_similarity(carver, arguments));
}
std::size_t CudaObservations::token_similarity_workspace(const TokenSimilarity& arguments) const {
  return bytes_of([&](WorkspaceCarver& carver) { take_similarity(carver, arguments); });
}

}  // namespace plumb::cuda
