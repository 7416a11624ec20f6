#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

/// Ids of the rows, each checked to be in [0, vocabulary).
class Ids {
 public:
  Ids(const char* op, const Tensor& ids, std::int64_t rows, std::int64_t vocabulary)
      : ids_(op, "ids", ids, rows) {
    for (std::int64_t r = 0; r < rows; ++r)
      PLUMB_CHECK(ids_[r] >= 0 && ids_[r] < vocabulary, "{}: id {} at row {} is not in [0, {})", op, ids_[r],
                  r, vocabulary);
  }
  std::int32_t operator[](std::int64_t r) const { return ids_[r]; }

 private:
  Vector<std::int32_t> ids_;
};

/// How many positions the table holds, at least one for each token; 0 without a table.
std::int64_t check_positions(const char* op, const Tensor& table, std::int64_t tokens) {
  PLUMB_CHECK(tokens >= 1, "{}: tokens is {}", op, tokens);
  PLUMB_CHECK(!table.defined() || table.rows() >= tokens, "{}: {} positions for {} tokens", op, table.rows(),
              tokens);
  return table.rows();
}

template <class T>
void forward(const EmbeddingForward& arguments) {
  const char* op = "embedding_forward";
  const std::int64_t rows = arguments.out.rows(), cols = arguments.out.cols();
  const std::int64_t vocabulary = arguments.token_table.rows();
  const std::int64_t positions = check_positions(op, arguments.position_table, arguments.tokens);
  const Ids ids(op, arguments.ids, rows, vocabulary);
  const Rows<T> token_table(op, "token_table", arguments.token_table, vocabulary, cols);
  const auto position_table =
      Rows<T>::optional(op, "position_table", arguments.position_table, positions, cols);
  const Rows<T> out(op, "out", arguments.out, rows, cols);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < cols; ++i) {
      const double token = arguments.scale * token_table[ids[r]][i];
      out[r][i] = static_cast<T>(token + (position_table ? position_table[r % arguments.tokens][i] : 0.0));
    }
  }
}

template <class T>
void backward(const EmbeddingBackward& arguments) {
  const char* op = "embedding_backward";
  const std::int64_t rows = arguments.dout.rows(), cols = arguments.dout.cols(), tokens = arguments.tokens;
  const std::int64_t vocabulary = arguments.dtoken_table.rows();
  const std::int64_t positions = check_positions(op, arguments.dposition_table, tokens);
  const Ids ids(op, arguments.ids, rows, vocabulary);
  const Rows<T> dout(op, "dout", arguments.dout, rows, cols);
  const Rows<T> dtoken_table(op, "dtoken_table", arguments.dtoken_table, vocabulary, cols);
  const auto dposition_table =
      Rows<T>::optional(op, "dposition_table", arguments.dposition_table, positions, cols);

  for (std::int64_t first = 0; first < rows; ++first) {
    bool seen = false;  // an earlier row with this id has summed this one too
    for (std::int64_t r = 0; r < first; ++r) seen = seen || ids[r] == ids[first];
    if (seen) continue;
    for (std::int64_t i = 0; i < cols; ++i) {
      double sum = 0;
      for (std::int64_t r = first; r < rows; ++r)
        if (ids[r] == ids[first]) sum += dout[r][i];
      T& total = dtoken_table[ids[first]][i];
      total = static_cast<T>(total + arguments.scale * sum);
    }
  }
  if (!dposition_table) return;
  for (std::int64_t t = 0; t < std::min(tokens, rows); ++t) {
    for (std::int64_t i = 0; i < cols; ++i) {
      double sum = dposition_table[t][i];
      for (std::int64_t r = t; r < rows; r += tokens) sum += dout[r][i];
      dposition_table[t][i] = static_cast<T>(sum);
    }
  }
}

}  // namespace

void ReferenceEmbedding::embedding_forward(Stream&, const EmbeddingForward& arguments) const {
  with_scalar("embedding_forward", arguments.out.dtype,
              [&](auto scalar) { forward<decltype(scalar)>(arguments); });
}

void ReferenceEmbedding::embedding_backward(Stream&, const EmbeddingBackward& arguments) const {
  with_scalar("embedding_backward", arguments.dout.dtype,
              [&](auto scalar) { backward<decltype(scalar)>(arguments); });
}

std::size_t ReferenceEmbedding::embedding_backward_workspace(const EmbeddingBackward&) const { return 0; }

}  // namespace plumb::reference
