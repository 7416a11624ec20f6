#include "backends/cuda/cublas_check.h"

#include "backends/cuda/library_check.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

std::string_view hint_for(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "; is there a GPU whose driver is new enough?";
    case CUBLAS_STATUS_INVALID_VALUE:
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "; CUBLASLT_LOG_LEVEL=5 makes the library say what it does not take";
    default:
      return "";
  }
}

}  // namespace

void fail_cublas(cublasStatus_t status, std::string_view subject, const char* expression, const char* file,
                 int line) {
  const std::string text = fmt::format("{} ({}), {}, {}", cublasLtGetStatusName(status),
                                       static_cast<int>(status), cublasLtGetStatusString(status), subject);
  fail_library("cuBLASLt", text, hint_for(status), expression, file, line);
}

}  // namespace plumb::cuda
