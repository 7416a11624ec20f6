#include "backends/cuda/nccl_check.h"

#include <algorithm>

#include "backends/cuda/library_check.h"

namespace plumb::cuda {

std::string nccl_text(ncclResult_t code) {
  std::string text = ncclGetErrorString(code);
  const char* last_words = ncclGetLastError(nullptr);
  if (last_words != nullptr && *last_words != '\0') text += std::string(": ") + last_words;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

void check_nccl(ncclResult_t code, const char* expression, const char* file, int line) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  fail_library("NCCL", nccl_text(code), "; NCCL_DEBUG=INFO says more", expression, file, line);
}

}  // namespace plumb::cuda
