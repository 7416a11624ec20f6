// Matrix products of the cpu backend, in fp32 and in bf16 with fp32 accumulation. Every thread makes a part
// of the result (product_parts.h), from beginning to end. fp32 goes through sgemm.h, which needs no
// preparation; bf16 through oneDNN's matmul primitives, which are made once per part and kept. Where the
// processor has no tiles for bf16 (AMX), they are widened to fp32 (widened_matmul.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb::cpu {

class ProductParts;
enum class Widening;

/// c = op(a) op(b) [+ bias] [+ c], all row-major with row_stride honoured; op transposes where asked.
/// op(a) is (M, K), op(b) is (K, N), c is (M, N).
///   fp32: a, b, c fp32.
///   bf16: a and b bf16, c fp32 or bf16 (rounded once, from the fp32 sum that includes bias and old c).
struct MatmulArguments {
  const char* op = "matmul";  ///< named by errors
  Tensor a;
  bool transpose_a = false;
  Tensor b;
  bool transpose_b = false;
  Tensor c;
  Tensor bias;              ///< (N) fp32, added to every row; empty = none; not together with accumulate
  bool accumulate = false;  ///< c += instead of =
  Workspace workspace;
};

/// How bf16 is multiplied.
enum class Bf16Products {
  Best,        ///< what is faster on this processor
  Primitives,  ///< by oneDNN, where it has any for this processor (has_bf16_primitives)
  Packed,      ///< widened to fp32 as our own product packs them (AVX2 and FMA); a^T b^T in blocks
  InBlocks     ///< widened to fp32 for oneDNN's product
};
bool has_bf16_primitives();

/// Owns the prepared bf16 problems; used by one host thread at a time, never inside a parallel region. Only
/// the first call for a problem (shapes, strides, forms, dtypes, thread count) allocates.
class Matmul {
 public:
  explicit Matmul(Bf16Products products = Bf16Products::Best);
  ~Matmul();
  Matmul(const Matmul&) = delete;
  Matmul& operator=(const Matmul&) = delete;

  void run(const MatmulArguments& arguments) const;
  /// Bytes of workspace for these shapes (data pointers are not looked at).
  std::size_t workspace(const MatmulArguments& arguments) const;

 private:
  struct Key {
    std::int64_t m, n, k, stride_a, stride_b, stride_c;
    std::int64_t part;  ///< parts that run at the same time share no memory objects
    bool transpose_a, transpose_b, accumulate, bias, wide_output;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Primitive;

  static Key key_of(const MatmulArguments& arguments, std::int64_t part);
  Primitive& prepared(const Key& key) const;
  bool uses_primitives(const MatmulArguments& arguments) const;
  Widening widening_of(const MatmulArguments& arguments) const;
  std::size_t part_workspace(const MatmulArguments& arguments, const ProductParts& parts) const;
  std::size_t primitive_workspace(const MatmulArguments& arguments, std::int64_t part) const;

  bool use_primitives_, packs_;
  mutable std::unordered_map<Key, std::unique_ptr<Primitive>, KeyHash> primitives_;
};

}  // namespace plumb::cpu
