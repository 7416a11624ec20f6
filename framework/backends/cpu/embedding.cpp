#include <array>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/thread_columns.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

const std::int32_t* checked_ids(const char* op, const Tensor& tensor, std::int64_t rows,
                                std::int64_t vocabulary) {
  const auto* ids = vector_of<std::int32_t>(op, "ids", tensor, rows);
  std::int32_t smallest = 0, largest = 0;
#pragma omp simd reduction(min : smallest) reduction(max : largest)
  for (std::int64_t r = 0; r < rows; ++r) {
    smallest = ids[r] < smallest ? ids[r] : smallest;
    largest = ids[r] > largest ? ids[r] : largest;
  }
  PLUMB_CHECK(smallest >= 0 && largest < vocabulary, "{}: ids go from {} to {}, not within [0, {})", op,
              smallest, largest, vocabulary);
  return ids;
}

void check_positions(const char* op, const Tensor& table, std::int64_t tokens) {
  PLUMB_CHECK(tokens >= 1, "{}: tokens is {}", op, tokens);
  PLUMB_CHECK(!table.defined() || table.rows() >= tokens, "{}: {} positions for {} tokens", op, table.rows(),
              tokens);
}

template <class T>
void forward(const EmbeddingForward& arguments) {
  const char* op = "embedding_forward";
  const std::int64_t rows = arguments.out.rows(), cols = arguments.out.cols();
  const std::int64_t vocabulary = arguments.token_table.rows();
  check_positions(op, arguments.position_table, arguments.tokens);
  const std::int32_t* ids = checked_ids(op, arguments.ids, rows, vocabulary);
  const Rows<float> tokens(op, "token_table", arguments.token_table, vocabulary, cols);
  const auto positions = Rows<float>::optional(op, "position_table", arguments.position_table,
                                               arguments.position_table.rows(), cols);
  const Rows<T> out(op, "out", arguments.out, rows, cols);
  const auto scale = static_cast<float>(arguments.scale);
  parallel_for(rows, row_grain(cols, kCheapElements), [&](std::int64_t r) {
    const float* token = tokens[ids[r]];
    const float* position = positions ? positions[r % arguments.tokens] : nullptr;
    T* row = out[r];
    if (position == nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < cols; ++i) store(scale * token[i], &row[i]);
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < cols; ++i) store(scale * token[i] + position[i], &row[i]);
    }
  });
}

/// Scratch: rows in the order of their ids, and sums of the rows of one id.
struct Scratch {
  std::int32_t *order, *other_order;
  ThreadColumns sums;
  Scratch(const EmbeddingBackward& arguments, WorkspaceCarver& carver)
      : order(carver.take<std::int32_t>(arguments.dout.rows())),
        other_order(carver.take<std::int32_t>(arguments.dout.rows())),
        sums(carver, 1, arguments.dout.cols()) {}
};

/// Row numbers sorted by id, equal ids in ascending row order: radix sort, a byte of the id at a time.
const std::int32_t* rows_by_id(const Scratch& scratch, const std::int32_t* ids, std::int64_t rows,
                               std::int64_t vocabulary) {
  std::int32_t *from = scratch.order, *to = scratch.other_order;
  for (std::int64_t r = 0; r < rows; ++r) from[r] = static_cast<std::int32_t>(r);
  for (int shift = 0; shift < 32 && ((vocabulary - 1) >> shift) > 0; shift += 8) {
    std::array<std::int64_t, 257> starts{};
    const auto digit = [&](std::int32_t row) { return static_cast<std::size_t>((ids[row] >> shift) & 0xff); };
    for (std::int64_t r = 0; r < rows; ++r) ++starts[digit(from[r]) + 1];
    for (std::size_t d = 1; d < starts.size(); ++d) starts[d] += starts[d - 1];
    for (std::int64_t r = 0; r < rows; ++r) to[starts[digit(from[r])]++] = from[r];
    std::swap(from, to);
  }
  return from;
}

/// table += scale * (what partial has summed since it was made), in one rounding.
void add_sums(const ThreadColumns::Partial& partial, double scale, std::int64_t cols, float* table) {
  const double* total = partial.total(0);
#pragma omp simd
  for (std::int64_t i = 0; i < cols; ++i) table[i] = static_cast<float>(table[i] + scale * total[i]);
}

template <class T>
void add_row(const T* row, std::int64_t cols, ThreadColumns::Partial& partial) {
  float* sums = partial.array(0);
#pragma omp simd
  for (std::int64_t i = 0; i < cols; ++i) sums[i] += static_cast<float>(row[i]);
  partial.end_rows(1);
}

/// A thread takes the ids whose first row lies in its part of the sorted order, so that every table row has
/// one owner and its sum does not depend on the number of threads.
template <class T>
void add_to_tokens(const EmbeddingBackward& arguments, const Rows<T>& dout, const Scratch& scratch) {
  const char* op = "embedding_backward";
  const std::int64_t rows = arguments.dout.rows(), cols = arguments.dout.cols();
  const std::int64_t vocabulary = arguments.dtoken_table.rows();
  const std::int32_t* ids = checked_ids(op, arguments.ids, rows, vocabulary);
  const Rows<float> table(op, "dtoken_table", arguments.dtoken_table, vocabulary, cols);
  const std::int32_t* order = rows_by_id(scratch, ids, rows, vocabulary);
  parallel_chunks(rows, row_grain(cols, kCheapElements),
                  [&](int thread, std::int64_t begin, std::int64_t end) {
                    const auto starts_group = [&](std::int64_t at) {
                      return at == 0 || ids[order[at]] != ids[order[at - 1]];
                    };
                    std::int64_t at = begin;
                    while (at < end && !starts_group(at)) ++at;
                    while (at < end) {
                      ThreadColumns::Partial partial = scratch.sums.begin(thread);
                      const std::int32_t id = ids[order[at]];
                      for (; at < rows && ids[order[at]] == id; ++at) add_row(dout[order[at]], cols, partial);
                      partial.flush();
                      add_sums(partial, arguments.scale, cols, table[id]);
                    }
                  });
}

template <class T>
void add_to_positions(const EmbeddingBackward& arguments, const Rows<T>& dout, const Scratch& scratch) {
  const std::int64_t rows = arguments.dout.rows(), cols = arguments.dout.cols(), tokens = arguments.tokens;
  const Rows<float> table("embedding_backward", "dposition_table", arguments.dposition_table,
                          arguments.dposition_table.rows(), cols);
  const std::int64_t sequences = (rows + tokens - 1) / tokens;
  parallel_chunks(std::min(tokens, rows), row_grain(cols * sequences, kCheapElements),
                  [&](int thread, std::int64_t begin, std::int64_t end) {
                    for (std::int64_t t = begin; t < end; ++t) {
                      ThreadColumns::Partial partial = scratch.sums.begin(thread);
                      for (std::int64_t r = t; r < rows; r += tokens) add_row(dout[r], cols, partial);
                      partial.flush();
                      add_sums(partial, 1.0, cols, table[t]);
                    }
                  });
}

template <class T>
void backward(const EmbeddingBackward& arguments) {
  const char* op = "embedding_backward";
  check_positions(op, arguments.dposition_table, arguments.tokens);
  const Rows<T> dout(op, "dout", arguments.dout, arguments.dout.rows(), arguments.dout.cols());
  WorkspaceCarver carver(arguments.workspace);
  const Scratch scratch(arguments, carver);
  add_to_tokens(arguments, dout, scratch);
  if (arguments.dposition_table.defined()) add_to_positions(arguments, dout, scratch);
}

}  // namespace

void CpuEmbedding::embedding_forward(Stream&, const EmbeddingForward& arguments) const {
  with_compute("embedding_forward", arguments.out.dtype,
               [&](auto element) { forward<decltype(element)>(arguments); });
}

void CpuEmbedding::embedding_backward(Stream&, const EmbeddingBackward& arguments) const {
  with_compute("embedding_backward", arguments.dout.dtype,
               [&](auto element) { backward<decltype(element)>(arguments); });
}

std::size_t CpuEmbedding::embedding_backward_workspace(const EmbeddingBackward& arguments) const {
  WorkspaceCarver carver;
  Scratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
