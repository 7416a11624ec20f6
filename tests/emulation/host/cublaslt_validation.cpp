// "cublasLtMatmul()" in https://docs.nvidia.com/cuda/cublas/ has the tables of types; cublasLt.h documents
// the attributes.
#include "host/cublaslt_validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "host/device_memory.h"

namespace plumb::emulation {
namespace {

const char* name_of(cudaDataType_t type) {
  switch (type) {
    case CUDA_R_32F:
      return "CUDA_R_32F";
    case CUDA_R_16BF:
      return "CUDA_R_16BF";
    case CUDA_R_16F:
      return "CUDA_R_16F";
    default:
      return "another type";
  }
}

Verdict invalid(std::string reason) { return {CUBLAS_STATUS_INVALID_VALUE, std::move(reason)}; }
Verdict unsupported(std::string reason) { return {CUBLAS_STATUS_NOT_SUPPORTED, std::move(reason)}; }

Verdict check_layout(char matrix, const MatrixLayout& layout, bool written) {
  constexpr auto kLargest = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  if (layout.rows == 0 || layout.columns == 0 || layout.rows > kLargest || layout.columns > kLargest)
    return invalid(fmt::format("{} is {} x {}", matrix, layout.rows, layout.columns));
  if (layout.ld < static_cast<std::int64_t>(layout.rows))
    return invalid(fmt::format("{}: leading dimension {} of a column-major matrix with {} rows", matrix,
                               layout.ld, layout.rows));
  if (layout.batch < 1) return invalid(fmt::format("{}: a batch of {}", matrix, layout.batch));
  const std::int64_t matrix_elements =
      layout.ld * static_cast<std::int64_t>(layout.columns - 1) + static_cast<std::int64_t>(layout.rows);
  if (layout.batch > 1 && (layout.stride < 0 || (written && layout.stride < matrix_elements)))
    return invalid(fmt::format("{}: batch stride {} of matrices with {} elements", matrix, layout.stride,
                               matrix_elements));
  return {};
}

Verdict check_shapes(const MatmulProblem& p) {
  const bool a_plain = p.description.transpose_a == CUBLAS_OP_N,
             b_plain = p.description.transpose_b == CUBLAS_OP_N;
  for (const std::int32_t operation : {p.description.transpose_a, p.description.transpose_b}) {
    if (operation != CUBLAS_OP_N && operation != CUBLAS_OP_T)
      return invalid(fmt::format("operation {} on a real matrix", operation));
  }
  const std::uint64_t m = a_plain ? p.a.rows : p.a.columns, k = a_plain ? p.a.columns : p.a.rows;
  const std::uint64_t k_b = b_plain ? p.b.rows : p.b.columns, n = b_plain ? p.b.columns : p.b.rows;
  if (k != k_b || p.d.rows != m || p.d.columns != n || p.c.rows != m || p.c.columns != n)
    return invalid(fmt::format("op(A) is {} x {}, op(B) {} x {}, C {} x {}, D {} x {}", m, k, k_b, n,
                               p.c.rows, p.c.columns, p.d.rows, p.d.columns));
  if (p.a.batch != p.d.batch || p.b.batch != p.d.batch || p.c.batch != p.d.batch)
    return invalid(fmt::format("batches of {}, {}, {} and {}", p.a.batch, p.b.batch, p.c.batch, p.d.batch));
  return {};
}

/// The rows of the table of types with scale type CUDA_R_32F that have A and B of one type of 16 or 32 bits.
Verdict check_types(const MatmulProblem& p) {
  for (const MatrixLayout* layout : {&p.a, &p.b, &p.c, &p.d}) {
    if (element_bytes(layout->type) == 0)
      fail("cuBLASLt: data type {} is not modelled by the emulation", static_cast<int>(layout->type));
  }
  const std::string types = fmt::format("A {}, B {}, C {}, D {}", name_of(p.a.type), name_of(p.b.type),
                                        name_of(p.c.type), name_of(p.d.type));
  if (p.description.scale != CUDA_R_32F) return unsupported("the scale type must be CUDA_R_32F");
  if (p.a.type != p.b.type || p.c.type != p.d.type) return unsupported(types);
  if (p.d.type != p.a.type && p.d.type != CUDA_R_32F) return unsupported(types);
  switch (p.description.compute) {
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
      return {};
    case CUBLAS_COMPUTE_32F_FAST_TF32:
      return p.a.type == CUDA_R_32F ? Verdict{} : unsupported("CUBLAS_COMPUTE_32F_FAST_TF32 with " + types);
    default:
      return unsupported(fmt::format("compute type {}", static_cast<int>(p.description.compute)));
  }
}

Verdict check_epilogue(const MatmulProblem& p) {
  const MatmulDescription& description = p.description;
  switch (description.epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
      return {};
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
      break;
    default:
      fail("cuBLASLt: epilogue {} is not modelled by the emulation", description.epilogue);
  }
  // Batches have strides of their own for bias and aux, which are not modelled.
  if (p.d.batch > 1) return unsupported(fmt::format("epilogue {} with a batch", description.epilogue));
  // "Bias vector elements are the same type as the elements of output matrix (Dtype)", apart from types that
  // are not modelled (cublasLt.h, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE).
  if (description.bias_type != -1 && description.bias_type != static_cast<std::int32_t>(p.d.type))
    return unsupported(fmt::format("bias of {} with D of {}",
                                   name_of(static_cast<cudaDataType_t>(description.bias_type)),
                                   name_of(p.d.type)));
  // cublasLt.h, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD.
  if (has_aux(description) &&
      (description.aux_ld % 8 != 0 || description.aux_ld < static_cast<std::int64_t>(p.d.rows)))
    return invalid(
        fmt::format("leading dimension {} of the auxiliary matrix: it is divisible by 8 and at least {}",
                    description.aux_ld, p.d.rows));
  return {};
}

bool overlap(const void* a, std::size_t a_bytes, const void* b, std::size_t b_bytes) {
  const char *first = static_cast<const char*>(a), *second = static_cast<const char*>(b);
  return first < second + b_bytes && second < first + a_bytes;
}

bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

/// Bias and auxiliary matrix: both have to start at multiples of 16 bytes, as vectorized epilogues need.
std::string epilogue_fault(const MatmulProblem& p, const MatmulPointers& pointers) {
  const MatmulDescription& description = p.description;
  const std::size_t bytes = element_bytes(p.d.type);
  if (has_bias(description) || has_bias_gradient(description)) {
    const std::size_t length = description.epilogue == CUBLASLT_EPILOGUE_BGRADB ? p.n() : p.m();
    if (description.bias == nullptr || !aligned(description.bias, 16))
      return "bias: null, or not 16-byte aligned";
    std::string fault = range_fault("cublasLtMatmul", "bias", description.bias, length * bytes);
    if (!fault.empty()) return fault;
    if (has_bias_gradient(description) &&
        overlap(description.bias, length * bytes, pointers.d, extent_bytes(p.d)))
      return "the bias gradient overlaps D";
  }
  if (!has_aux(description)) return {};
  if (description.aux == nullptr || !aligned(description.aux, 16)) return "aux: null, or not 16-byte aligned";
  const std::size_t aux_bytes = (static_cast<std::size_t>(description.aux_ld) * (p.n() - 1) + p.m()) * bytes;
  if (overlap(description.aux, aux_bytes, pointers.d, extent_bytes(p.d)))
    return "the auxiliary matrix overlaps D";
  return range_fault("cublasLtMatmul", "aux", description.aux, aux_bytes);
}

std::string output_fault(const MatmulProblem& p, const MatmulPointers& pointers) {
  const std::size_t d_bytes = extent_bytes(p.d);
  if (overlap(pointers.d, d_bytes, pointers.a, extent_bytes(p.a))) return "D overlaps A";
  if (overlap(pointers.d, d_bytes, pointers.b, extent_bytes(p.b))) return "D overlaps B";
  if (!pointers.reads_c) return {};
  // In place is allowed with equal layouts only.
  const bool same_layout = p.c.ld == p.d.ld && p.c.stride == p.d.stride && p.c.type == p.d.type;
  if (pointers.c == pointers.d) return same_layout ? "" : "C is D, but with another layout";
  return overlap(pointers.c, extent_bytes(p.c), pointers.d, d_bytes) ? "C overlaps D and is not D" : "";
}

std::string workspace_fault(const MatmulPointers& pointers) {
  if (pointers.workspace_bytes == 0) return {};
  // "Must be 256B aligned", documentation of cublasLtMatmul().
  if (!aligned(pointers.workspace, 256)) return "the workspace is not 256-byte aligned";
  return range_fault("cublasLtMatmul", "workspace", pointers.workspace, pointers.workspace_bytes);
}

}  // namespace

bool has_bias(const MatmulDescription& description) {
  return description.epilogue == CUBLASLT_EPILOGUE_BIAS ||
         description.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}
bool has_aux(const MatmulDescription& description) {
  return description.epilogue == CUBLASLT_EPILOGUE_GELU_AUX ||
         description.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}
bool has_bias_gradient(const MatmulDescription& description) {
  return description.epilogue == CUBLASLT_EPILOGUE_BGRADA || description.epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

std::size_t element_bytes(cudaDataType_t type) {
  switch (type) {
    case CUDA_R_32F:
      return 4;
    case CUDA_R_16BF:
    case CUDA_R_16F:
      return 2;
    default:
      return 0;
  }
}

std::size_t extent_bytes(const MatrixLayout& layout) {
  const std::size_t last =
      static_cast<std::size_t>(layout.batch - 1) * static_cast<std::size_t>(layout.stride) +
      static_cast<std::size_t>(layout.ld) * (layout.columns - 1) + layout.rows;
  return last * element_bytes(layout.type);
}

Verdict check_problem(const MatmulProblem& problem) {
  const std::pair<char, const MatrixLayout*> layouts[] = {
      {'A', &problem.a}, {'B', &problem.b}, {'C', &problem.c}, {'D', &problem.d}};
  for (const auto& [matrix, layout] : layouts) {
    Verdict verdict = check_layout(matrix, *layout, matrix == 'D');
    if (verdict.status != CUBLAS_STATUS_SUCCESS) return verdict;
  }
  for (Verdict (*check)(const MatmulProblem&) : {check_shapes, check_types, check_epilogue}) {
    Verdict verdict = check(problem);
    if (verdict.status != CUBLAS_STATUS_SUCCESS) return verdict;
  }
  if (problem.description.pointer_mode != CUBLASLT_POINTER_MODE_HOST &&
      problem.description.pointer_mode != CUBLASLT_POINTER_MODE_DEVICE)
    fail("cuBLASLt: pointer mode {} is not modelled by the emulation", problem.description.pointer_mode);
  return {};
}

std::string pointer_fault(const MatmulProblem& problem, const MatmulPointers& pointers) {
  const struct {
    const char* name;
    const void* pointer;
    const MatrixLayout& layout;
    bool used;
  } matrices[] = {{"A", pointers.a, problem.a, true},
                  {"B", pointers.b, problem.b, true},
                  {"C", pointers.c, problem.c, pointers.reads_c},
                  {"D", pointers.d, problem.d, true}};
  for (const auto& [name, pointer, layout, used] : matrices) {
    if (pointer == nullptr) return fmt::format("{} is null", name);
    if (!aligned(pointer, element_bytes(layout.type)))
      return fmt::format("{}: misaligned for its type", name);
    std::string fault = used ? range_fault("cublasLtMatmul", name, pointer, extent_bytes(layout)) : "";
    if (!fault.empty()) return fault;
  }
  for (std::string fault :
       {output_fault(problem, pointers), epilogue_fault(problem, pointers), workspace_fault(pointers)}) {
    if (!fault.empty()) return fault;
  }
  return {};
}

}  // namespace plumb::emulation
