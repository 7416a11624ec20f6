// What the checks of the CUDA libraries (check.h, and those of cuBLASLt, cuDNN and NCCL) have in common.
#pragma once

#include <string_view>

namespace plumb::cuda {

/// Throws Error: "<file>:<line>: <library>: <text> in `<expression>` (host, rank, device)<hint>".
[[noreturn]] void fail_library(std::string_view library, std::string_view text, std::string_view hint,
                               const char* expression, const char* file, int line);

}  // namespace plumb::cuda
