#include "backends/cuda/rotary.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaAttention::prepare_rotary(const Rotary& arguments) const {
  const char* op = "rotary";  // there are no tables to make
  PLUMB_CHECK(arguments.width >= 2 && arguments.width % 2 == 0, "{}: the head width {} must be even", op,
              arguments.width);
  PLUMB_CHECK(arguments.tokens >= 1, "{}: tokens is {}", op, arguments.tokens);
}

void CudaAttention::rotary(Stream& stream, const Rotary& arguments) const {
  const char* op = "rotary";
  prepare_rotary(arguments);
  const Tensor& x = arguments.x;
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), arguments.heads * arguments.width);
  PLUMB_CHECK(x.rows() <= INT32_MAX && arguments.tokens <= INT32_MAX, "{}: {} rows of sequences of {}", op,
              x.rows(), arguments.tokens);
  if (x.elements() > 0) launch_rotary(handle_of(stream), arguments);
}

}  // namespace plumb::cuda
