#include "host/cublaslt_arithmetic.h"

#include <oneapi/dnnl/dnnl.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"

namespace plumb::emulation {
namespace {

float read(const void* data, cudaDataType_t type, std::size_t position) {
  switch (type) {
    case CUDA_R_16BF:
      return static_cast<float>(static_cast<const bfloat16*>(data)[position]);
    case CUDA_R_16F:
      return static_cast<float>(static_cast<const float16*>(data)[position]);
    default:
      return static_cast<const float*>(data)[position];
  }
}

void write(void* data, cudaDataType_t type, std::size_t position, float value) {
  switch (type) {
    case CUDA_R_16BF:
      static_cast<bfloat16*>(data)[position] = bfloat16(value);
      break;
    case CUDA_R_16F:
      static_cast<float16*>(data)[position] = float16(value);
      break;
    default:
      static_cast<float*>(data)[position] = value;
  }
}

/// 10 bits of mantissa, to nearest, ties away from zero: cvt.rna.tf32.f32 of the PTX ISA.
float round_to_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7f800000U) == 0x7f800000U) return value;
  return std::bit_cast<float>((bits + 0x1000U) & ~0x1fffU);
}

float gelu_tanh(float x) {
  constexpr float kSlope = 0.7978845608028654F;  // sqrt(2 / pi)
  return 0.5F * x * (1.0F + std::tanh(kSlope * (x + 0.044715F * x * x * x)));
}

/// A matrix as columns of floats.
struct Columns {
  std::vector<float> values;
  std::int64_t ld = 0;

  Columns(const void* data, const MatrixLayout& layout, std::int32_t batch, bool tf32)
      : values(layout.rows * layout.columns), ld(static_cast<std::int64_t>(layout.rows)) {
    const std::size_t start = static_cast<std::size_t>(batch) * static_cast<std::size_t>(layout.stride);
    for (std::size_t column = 0; column < layout.columns; ++column) {
      for (std::size_t row = 0; row < layout.rows; ++row) {
        const float value =
            read(data, layout.type, start + column * static_cast<std::size_t>(layout.ld) + row);
        values[column * layout.rows + row] = tf32 ? round_to_tf32(value) : value;
      }
    }
  }
};

/// Sums over k of op(A) (per row of D) or of op(B) (per column of D), in the order of k.
void write_bias_gradient(const MatmulProblem& p, const Columns& factor, const MatrixLayout& layout) {
  const bool of_a = p.description.epilogue == CUBLASLT_EPILOGUE_BGRADA;
  const bool transposed = (of_a ? p.description.transpose_a : p.description.transpose_b) != CUBLAS_OP_N;
  // op(A) keeps its long side m in the rows of A unless it is transposed; op(B) its n in the columns of B.
  const bool along_rows = of_a != transposed;
  const std::size_t length = along_rows ? layout.rows : layout.columns;
  std::vector<float> sums(length, 0.0F);
  for (std::size_t column = 0; column < layout.columns; ++column) {
    for (std::size_t row = 0; row < layout.rows; ++row)
      sums[along_rows ? row : column] += factor.values[column * layout.rows + row];
  }
  for (std::size_t i = 0; i < length; ++i) write(p.description.bias, p.d.type, i, sums[i]);
}

void write_result(const MatmulProblem& p, void* d, std::size_t start, const std::vector<float>& result) {
  const MatmulDescription& description = p.description;
  for (std::size_t column = 0; column < p.n(); ++column) {
    for (std::size_t row = 0; row < p.m(); ++row) {
      float value = result[column * p.m() + row];
      if (has_bias(description)) value += read(description.bias, p.d.type, row);
      if (has_aux(description)) {
        write(description.aux, p.d.type, column * static_cast<std::size_t>(description.aux_ld) + row, value);
        value = gelu_tanh(value);
      }
      write(d, p.d.type, start + column * static_cast<std::size_t>(p.d.ld) + row, value);
    }
  }
}

}  // namespace

void multiply(const MatmulProblem& p, const MatmulPointers& pointers, float alpha, float beta) {
  if (pointers.workspace_bytes > 0) std::memset(pointers.workspace, 0xff, pointers.workspace_bytes);
  const bool tf32 = p.description.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const auto m = static_cast<dnnl_dim_t>(p.m()), n = static_cast<dnnl_dim_t>(p.n()),
             k = static_cast<dnnl_dim_t>(p.k());
  for (std::int32_t batch = 0; batch < p.d.batch; ++batch) {
    const Columns a(pointers.a, p.a, batch, tf32), b(pointers.b, p.b, batch, tf32);
    std::vector<float> result(p.m() * p.n(), 0.0F);
    if (beta != 0) result = Columns(pointers.c, p.c, batch, false).values;
    // oneDNN is row-major: columns of D are its rows, so it computes op(B)^T op(A)^T.
    const dnnl_status_t status =
        dnnl_sgemm(p.description.transpose_b == CUBLAS_OP_N ? 'N' : 'T',
                   p.description.transpose_a == CUBLAS_OP_N ? 'N' : 'T', n, m, k, alpha, b.values.data(),
                   b.ld, a.values.data(), a.ld, beta, result.data(), m);
    PLUMB_CHECK(status == dnnl_success, "dnnl_sgemm: status {}", static_cast<int>(status));
    if (has_bias_gradient(p.description)) {
      const bool of_a = p.description.epilogue == CUBLASLT_EPILOGUE_BGRADA;
      write_bias_gradient(p, of_a ? a : b, of_a ? p.a : p.b);
    }
    write_result(p, pointers.d, static_cast<std::size_t>(batch) * static_cast<std::size_t>(p.d.stride),
                 result);
  }
}

}  // namespace plumb::emulation
