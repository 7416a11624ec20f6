#include "backends/cpu/arguments.h"

#include "core/error.h"

namespace plumb::cpu {

void fail_dtype(const char* op, DType dtype) {
  fail("{}: the cpu backend computes in fp32 and bf16, not in {}", op, name_of(dtype));
}

}  // namespace plumb::cpu
