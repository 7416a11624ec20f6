#include "backends/cuda/cudnn/cudnn_check.h"

#include <algorithm>
#include <array>

#include "backends/cuda/library_check.h"

namespace plumb::cuda {

std::string cudnn_text(cudnnStatus_t status) {
  std::array<char, 1024> words{};
  cudnnGetLastErrorString(words.data(), words.size());
  std::string text = cudnnGetErrorString(status);
  if (words[0] != '\0') text += std::string(": ") + words.data();
  std::replace(text.begin(), text.end(), '\n', ' ');  // errors are one line
  return text;
}

bool is_fault(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_EXECUTION_FAILED ||
         status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
         status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
}

void check_cudnn(cudnnStatus_t status, const char* call, std::source_location where) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  try {
    fail_library("cuDNN", cudnn_text(status), "", call, where.file_name(), static_cast<int>(where.line()));
  } catch (const Error& error) {
    if (is_fault(status)) throw;
    throw CudnnRefusal(error.what());
  }
}

}  // namespace plumb::cuda
