// Several residual streams with mixing weights: hyper-connections (arXiv 2409.19606) and their
// manifold-constrained form (mHC, arXiv 2512.24880).
#pragma once

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// A row of X holds n streams side by side, [X_1 | ... | X_n], each of C entries. The mixing weights of a row
/// are n (n + 2) numbers, n + 2 for every stream i:  [ read_i, write_i, mix_i1 ... mix_in ].
///   branch input  h    = sum_i read_i X_i
///   new streams   X'_j = sum_i mix_ij X_i + write_j o
/// `weights` is (R, n (n+2)) or, the same for every row, (1, n (n+2)); master dtype.
struct StreamRead {
  std::int64_t streams = 1;  ///< n, 1..16
  Tensor x;                  ///< (R, n*C) compute dtype
  Tensor weights;
  Tensor h;  ///< (R, C) compute dtype out
};

struct StreamReadBackward {
  std::int64_t streams = 1;
  Tensor x, weights;  ///< as in forward
  Tensor dh;          ///< (R, C)
  Tensor dx;          ///< (R, n*C) accumulated (+=)
  Tensor dweights;    ///< like weights, master dtype; the entries read_i are accumulated (+=), the others
                      ///< untouched
  Workspace workspace;
};

struct StreamWrite {
  std::int64_t streams = 1;
  Tensor x;  ///< (R, n*C)
  Tensor o;  ///< (R, C) compute dtype: what the branch adds
  Tensor weights;
  Tensor out;  ///< (R, n*C); must not overlap x or o
};

struct StreamWriteBackward {
  std::int64_t streams = 1;
  Tensor x, o, weights;  ///< as in forward
  Tensor dout;           ///< (R, n*C)
  Tensor dx;             ///< (R, n*C) out, overwritten; may be the same view as dout
  Tensor do_;            ///< (R, C) out, overwritten
  Tensor dweights;       ///< like weights; the entries write_j and mix_ij are accumulated (+=)
  Workspace workspace;
};

/// How the weights of a row come from `raw` (R, n (n+2)), a projection of the row itself in the same order:
///   Hyper     weight = base + scale * tanh(raw); scales = [ of read and mix, of write ]
///   Manifold  read = sigmoid(base + s_read raw), write = 2 sigmoid(base + s_write raw),
///             mix = the n x n matrix exp(base + s_mix raw) after `iterations` Sinkhorn steps, each of which
///             divides every column j (what new stream j is made of) by its sum, then every row i (where old
///             stream i goes) by its sum, so that sum_j X'_j is sum_i X_i + what is written; in fp32 logits
///             of a column may differ by 80 at most before a row loses all its entries; scales = [ s_read,
///             s_write, s_mix ]
enum class StreamWeightKind { Hyper, Manifold };

struct StreamWeights {
  StreamWeightKind kind = StreamWeightKind::Hyper;
  std::int64_t streams = 1;
  int iterations = 20;  ///< Manifold, 1..100
  Tensor raw;           ///< (R, n (n+2)) compute dtype
  Tensor base;          ///< (n (n+2)) master dtype
  Tensor scales;        ///< (2) Hyper, (3) Manifold; master dtype
  Tensor weights;       ///< (R, n (n+2)) master dtype out
};

struct StreamWeightsBackward {
  StreamWeightKind kind = StreamWeightKind::Hyper;
  std::int64_t streams = 1;
  int iterations = 20;
  Tensor raw, base, scales;  ///< as in forward
  Tensor dweights;           ///< (R, n (n+2)) master dtype
  Tensor draw;               ///< (R, n (n+2)) compute dtype out, overwritten
  Tensor dbase, dscales;     ///< shapes of base and scales, master dtype, accumulated (+=)
  Workspace workspace;
};

class StreamMixOps {
 public:
  virtual ~StreamMixOps() = default;
  virtual void stream_read(Stream& stream, const StreamRead& arguments) const = 0;
  virtual void stream_read_backward(Stream& stream, const StreamReadBackward& arguments) const = 0;
  virtual std::size_t stream_read_backward_workspace(const StreamReadBackward& arguments) const = 0;
  virtual void stream_write(Stream& stream, const StreamWrite& arguments) const = 0;
  virtual void stream_write_backward(Stream& stream, const StreamWriteBackward& arguments) const = 0;
  virtual std::size_t stream_write_backward_workspace(const StreamWriteBackward& arguments) const = 0;
  virtual void stream_weights(Stream& stream, const StreamWeights& arguments) const = 0;
  virtual void stream_weights_backward(Stream& stream, const StreamWeightsBackward& arguments) const = 0;
  virtual std::size_t stream_weights_backward_workspace(const StreamWeightsBackward& arguments) const = 0;
};

}  // namespace plumb
