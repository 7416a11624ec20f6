#include "core/dtype.h"
#include "core/error.h"

namespace plumb::cuda {

[[noreturn]] void fail_element(DType dtype);
void fail_element(DType dtype) { fail("{} is not an element type of CUDA kernels", name_of(dtype)); }

}  // namespace plumb::cuda
