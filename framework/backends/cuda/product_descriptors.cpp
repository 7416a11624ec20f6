#include "backends/cuda/product_descriptors.h"

#include "backends/cuda/cublas_check.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

cudaDataType_t type_of(DType dtype) {
  if (dtype == DType::Float32) return CUDA_R_32F;
  if (dtype == DType::BFloat16) return CUDA_R_16BF;
  if (dtype == DType::Float16) return CUDA_R_16F;
  fail("cuBLASLt products have no {}", name_of(dtype));
}

/// Sets attributes of one descriptor; the subject names the product in errors.
class Attributes {
 public:
  Attributes(const char* op, const ProductProblem& problem) : op_(op), problem_(problem) {}

  template <class T>
  void set(cublasLtMatmulDesc_t descriptor, cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    PLUMB_CUBLAS(cublasLtMatmulDescSetAttribute(descriptor, attribute, &value, sizeof value), subject());
  }
  template <class T>
  void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
           const T& value) const {
    PLUMB_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
                 subject());
  }
  std::string subject() const { return describe(op_, problem_); }

 private:
  const char* op_;
  const ProductProblem& problem_;
};

cublasLtEpilogue_t epilogue_of(const ProductProblem& problem) {
  if (problem.gelu) return problem.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  if (problem.bias) return CUBLASLT_EPILOGUE_BIAS;
  // Of the library's second factor, which is our a.
  return problem.bias_gradient ? CUBLASLT_EPILOGUE_BGRADB : CUBLASLT_EPILOGUE_DEFAULT;
}

MatrixLayout make_layout(const Attributes& attributes, DType dtype, std::int64_t rows, std::int64_t cols,
                         std::int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  PLUMB_CUBLAS(cublasLtMatrixLayoutCreate(&layout, type_of(dtype), static_cast<std::uint64_t>(cols),
                                          static_cast<std::uint64_t>(rows), stride),
               attributes.subject());
  return MatrixLayout(layout);
}

/// An address that the heuristic takes for an aligned pointer; nothing is there.
void* stand_in_address() { return reinterpret_cast<void*>(std::uintptr_t{kPointerAlignment}); }

}  // namespace

void DestroyDescriptor::operator()(cublasLtMatmulDescOpaque_t* descriptor) const {
  static_cast<void>(cublasLtMatmulDescDestroy(descriptor));
}
void DestroyDescriptor::operator()(cublasLtMatrixLayoutOpaque_t* layout) const {
  static_cast<void>(cublasLtMatrixLayoutDestroy(layout));
}
void DestroyDescriptor::operator()(cublasLtMatmulPreferenceOpaque_t* preference) const {
  static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
}

ProductDescriptors make_descriptors(const char* op, const ProductProblem& problem) {
  const Attributes attributes(op, problem);
  ProductDescriptors made;
  cublasLtMatmulDesc_t operation = nullptr;
  PLUMB_CUBLAS(cublasLtMatmulDescCreate(
                   &operation, problem.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
               attributes.subject());
  made.operation.reset(operation);
  const auto form = [](bool transpose) -> std::int32_t { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  attributes.set(operation, CUBLASLT_MATMUL_DESC_TRANSA, form(problem.transpose_b));
  attributes.set(operation, CUBLASLT_MATMUL_DESC_TRANSB, form(problem.transpose_a));
  attributes.set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(epilogue_of(problem)));
  if (problem.bias || problem.bias_gradient)
    attributes.set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                   static_cast<std::int32_t>(type_of(problem.result)));
  if (problem.gelu)
    attributes.set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, problem.stride_gelu_input);

  const std::int64_t m = problem.m, n = problem.n, k = problem.k;
  made.left = make_layout(attributes, problem.factors, problem.transpose_b ? n : k,
                          problem.transpose_b ? k : n, problem.stride_b);
  made.right = make_layout(attributes, problem.factors, problem.transpose_a ? k : m,
                           problem.transpose_a ? m : k, problem.stride_a);
  made.result = make_layout(attributes, problem.result, m, n, problem.stride_c);
  set_pointers(op, problem, made, stand_in_address(), stand_in_address());
  return made;
}

void set_pointers(const char* op, const ProductProblem& problem, const ProductDescriptors& descriptors,
                  void* vector, void* gelu_input) {
  const Attributes attributes(op, problem);
  if (problem.bias || problem.bias_gradient)
    attributes.set(descriptors.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
  if (problem.gelu)
    attributes.set(descriptors.operation.get(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, gelu_input);
}

MatmulPreference make_preference(const char* op, const ProductProblem& problem, std::size_t workspace_limit) {
  const Attributes attributes(op, problem);
  cublasLtMatmulPreference_t preference = nullptr;
  PLUMB_CUBLAS(cublasLtMatmulPreferenceCreate(&preference), attributes.subject());
  MatmulPreference made(preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    attributes.set(preference, attribute, value);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(workspace_limit));
  // The other schemes round partial sums to the result's dtype (cublasLt.h, cublasLtReductionScheme_t). That
  // K is not split at all is always admitted.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{problem.alignment_b});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{problem.alignment_a});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t{problem.alignment_c});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t{problem.alignment_c});
  return made;
}

}  // namespace plumb::cuda
