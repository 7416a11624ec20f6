// Token and learned position embeddings.
#pragma once

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

struct EmbeddingForward {
  std::int64_t tokens = 1;  ///< T: row r has position r % T
  double scale = 1;         ///< multiplies the token row (sqrt(C) in some placements), not the position row
  Tensor ids;               ///< (R) int32 in [0, V)
  Tensor token_table;       ///< (V, C) master dtype
  Tensor position_table;    ///< (>= T, C) master dtype; empty = none
  Tensor out;               ///< (R, C) compute dtype
};

struct EmbeddingBackward {
  std::int64_t tokens = 1;
  double scale = 1;
  Tensor ids;
  Tensor dout;             ///< (R, C) compute dtype
  Tensor dtoken_table;     ///< (V, C) master dtype, +=
  Tensor dposition_table;  ///< (>= T, C) master dtype, +=; empty = none
  Workspace workspace;
};

class EmbeddingOps {
 public:
  virtual ~EmbeddingOps() = default;
  virtual void embedding_forward(Stream& stream, const EmbeddingForward& arguments) const = 0;
  /// Deterministic: equal ids are summed in ascending row order.
  virtual void embedding_backward(Stream& stream, const EmbeddingBackward& arguments) const = 0;
  virtual std::size_t embedding_backward_workspace(const EmbeddingBackward& arguments) const = 0;
};

}  // namespace plumb
