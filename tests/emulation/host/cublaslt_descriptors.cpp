#include "host/cublaslt_descriptors.h"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <set>

#include "core/error.h"
#include "host/handles.h"

namespace plumb::emulation {
namespace {

struct Library {};  ///< what a cublasLtHandle_t stands for

struct StatusText {
  cublasStatus_t status;
  const char* name;
  const char* text;
};
constexpr StatusText kTexts[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "the operation completed successfully"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE",
     "an unsupported value or parameter was passed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED",
     "the program failed to execute on the GPU"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED",
     "the functionality requested is not supported"},
};

std::map<cublasStatus_t, std::string>& reasons() {
  static std::map<cublasStatus_t, std::string> last;
  return last;
}

/// Copies an attribute whose size must be that of the field.
template <class Field>
cublasStatus_t set(Field& field, const char* attribute, const void* value, std::size_t bytes) {
  if (value == nullptr || bytes != sizeof field)
    return refuse(CUBLAS_STATUS_INVALID_VALUE,
                  fmt::format("attribute {} has {} bytes, not {}", attribute, sizeof field, bytes));
  std::memcpy(&field, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_order(const void* value, std::size_t bytes) {
  std::int32_t order = CUBLASLT_ORDER_COL;
  const cublasStatus_t status = set(order, "ORDER", value, bytes);
  if (order != CUBLASLT_ORDER_COL)
    fail("cuBLASLt: the emulation models column-major order only, not {}", order);
  return status;
}

cublasStatus_t unknown_handle(const char* function) {
  return refuse(CUBLAS_STATUS_INVALID_VALUE, fmt::format("{}: no such descriptor", function));
}

template <class Object, class Opaque>
cublasStatus_t create(const char* function, Opaque** handle, Object object) {
  if (handle == nullptr) return unknown_handle(function);
  *handle = reinterpret_cast<Opaque*>(handles<Object>().add(std::move(object)));
  return CUBLAS_STATUS_SUCCESS;
}

template <class Object>
cublasStatus_t destroy(const char* function, const void* handle) {
  return handles<Object>().remove(handle) ? CUBLAS_STATUS_SUCCESS : unknown_handle(function);
}

[[noreturn]] void not_modelled(const char* function, int attribute) {
  fail("{}: attribute {} is not modelled by the emulation", function, attribute);
}

}  // namespace

MatmulDescription* find(cublasLtMatmulDesc_t handle) { return handles<MatmulDescription>().find(handle); }
MatrixLayout* find(cublasLtMatrixLayout_t handle) { return handles<MatrixLayout>().find(handle); }
MatmulPreference* find(cublasLtMatmulPreference_t handle) { return handles<MatmulPreference>().find(handle); }
bool is_open(cublasLtHandle_t handle) { return handles<Library>().find(handle) != nullptr; }

cublasStatus_t refuse(cublasStatus_t status, std::string reason) {
  // The library's callers rarely look for a text, and a wrong argument is always a fault of the program.
  if (status == CUBLAS_STATUS_INVALID_VALUE) fmt::print(stderr, "[emulated cuBLASLt] {}\n", reason);
  reasons()[status] = std::move(reason);
  return status;
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  for (const StatusText& known : kTexts) {
    if (known.status == status) return known.name;
  }
  return "unknown status";
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  static std::set<std::string>& given_out = *std::make_unique<std::set<std::string>>().release();
  std::string text = "unknown status";
  for (const StatusText& known : kTexts) {
    if (known.status == status) text = known.text;
  }
  if (const auto reason = reasons().find(status); reason != reasons().end()) text += ": " + reason->second;
  return given_out.insert(std::move(text)).first->c_str();
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return create("cublasLtCreate", handle, Library{});
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return destroy<Library>("cublasLtDestroy", handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* handle, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  return create("cublasLtMatmulDescCreate", handle, MatmulDescription{.compute = compute, .scale = scale});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
  return destroy<MatmulDescription>("cublasLtMatmulDescDestroy", handle);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  MatmulDescription* description = find(handle);
  if (description == nullptr) return unknown_handle("cublasLtMatmulDescSetAttribute");
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return set(description->pointer_mode, "POINTER_MODE", value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(description->transpose_a, "TRANSA", value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(description->transpose_b, "TRANSB", value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(description->epilogue, "EPILOGUE", value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(description->bias, "BIAS_POINTER", value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(description->bias_type, "BIAS_DATA_TYPE", value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return set(description->aux, "EPILOGUE_AUX_POINTER", value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return set(description->aux_ld, "EPILOGUE_AUX_LD", value, bytes);
    default:
      not_modelled("cublasLtMatmulDescSetAttribute", attribute);
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* handle, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
  return create("cublasLtMatrixLayoutCreate", handle, MatrixLayout{type, rows, columns, ld, 1, 0});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
  return destroy<MatrixLayout>("cublasLtMatrixLayoutDestroy", handle);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t handle,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  MatrixLayout* layout = find(handle);
  if (layout == nullptr) return unknown_handle("cublasLtMatrixLayoutSetAttribute");
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return set_order(value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return set(layout->rows, "ROWS", value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return set(layout->columns, "COLS", value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return set(layout->ld, "LD", value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return set(layout->batch, "BATCH_COUNT", value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return set(layout->stride, "STRIDED_BATCH_OFFSET", value, bytes);
    default:
      not_modelled("cublasLtMatrixLayoutSetAttribute", attribute);
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* handle) {
  return create("cublasLtMatmulPreferenceCreate", handle, MatmulPreference{});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle) {
  return destroy<MatmulPreference>("cublasLtMatmulPreferenceDestroy", handle);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  MatmulPreference* preference = find(handle);
  if (preference == nullptr) return unknown_handle("cublasLtMatmulPreferenceSetAttribute");
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(preference->workspace, "MAX_WORKSPACE_BYTES", value, bytes);
    // Sums are never split here, which every scheme admits.
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(preference->reduction_schemes, "REDUCTION_SCHEME_MASK", value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return set(preference->alignment[0], "MIN_ALIGNMENT_A_BYTES", value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return set(preference->alignment[1], "MIN_ALIGNMENT_B_BYTES", value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return set(preference->alignment[2], "MIN_ALIGNMENT_C_BYTES", value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(preference->alignment[3], "MIN_ALIGNMENT_D_BYTES", value, bytes);
    default:
      not_modelled("cublasLtMatmulPreferenceSetAttribute", attribute);
  }
}

}  // extern "C"
