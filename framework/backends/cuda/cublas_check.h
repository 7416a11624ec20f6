// The one check of cuBLASLt calls.
#pragma once

#include <cublasLt.h>

#include <string_view>

namespace plumb::cuda {

/// Throws Error with the library's text, `subject` (what was asked of it), the place, host, rank and device.
[[noreturn]] void fail_cublas(cublasStatus_t status, std::string_view subject, const char* expression,
                              const char* file, int line);

}  // namespace plumb::cuda

/// `subject` is evaluated only when the call fails.
#define PLUMB_CUBLAS(call, subject)                                                          \
  do {                                                                                       \
    const cublasStatus_t plumb_cublas_status = (call);                                       \
    if (plumb_cublas_status != CUBLAS_STATUS_SUCCESS)                                        \
      ::plumb::cuda::fail_cublas(plumb_cublas_status, (subject), #call, __FILE__, __LINE__); \
  } while (false)
