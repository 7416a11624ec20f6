#include "backends/cuda/check.h"

#include <string>
#include <string_view>

#include "backends/cuda/library_check.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

std::string_view hint_for(cudaError_t code) {
  switch (code) {
    case cudaErrorMemoryAllocation:
      return "; lower training.micro_batch_sequences or model.sequence_length";
    case cudaErrorInsufficientDriver:
      return "; the driver is older than the CUDA runtime, or there is none";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorMisalignedAddress:
      return "; a kernel before this call failed (CUDA_LAUNCH_BLOCKING=1 finds which one)";
    default:
      return "";
  }
}

int current_device() {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess) device = -1;
  return device;
}

}  // namespace

void fail_library(std::string_view library, std::string_view text, std::string_view hint,
                  const char* expression, const char* file, int line) {
  const ProcessIdentity& identity = process_identity();
  fail("{}:{}: {}: {} in `{}` (host {}, rank {}, device {}){}", file, line, library, text, expression,
       identity.host, identity.rank, current_device(), hint);
}

void check_cuda(cudaError_t code, const char* expression, const char* file, int line) {
  if (code == cudaSuccess) return;
  const std::string text = fmt::format("{} ({})", cudaGetErrorString(code), static_cast<int>(code));
  static_cast<void>(cudaGetLastError());  // an error that has been reported must not be found again
  fail_library("CUDA", text, hint_for(code), expression, file, line);
}

}  // namespace plumb::cuda
