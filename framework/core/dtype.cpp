#include "core/dtype.h"

#include "core/error.h"

namespace plumb {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
    case DType::Int64:
      return 8;
    case DType::Float32:
    case DType::Int32:
      return 4;
    case DType::BFloat16:
      return 2;
  }
  fail("size_of: unknown dtype {}", static_cast<int>(dtype));
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return "fp64";
    case DType::Float32:
      return "fp32";
    case DType::BFloat16:
      return "bf16";
    case DType::Int64:
      return "int64";
    case DType::Int32:
      return "int32";
  }
  return "unknown";
}

}  // namespace plumb
