// From a run-time dtype to a template argument, in the host part of a device source.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "portability.cuh"

namespace plumb::cuda {

/// Throws Error; out of line because device sources do not know fmt.
[[noreturn]] void fail_element(DType dtype);

/// Calls body(element) with a float, __nv_bfloat16 or __half.
template <class Body>
void with_element(DType dtype, Body&& body) {
  if (dtype == DType::Float32) return body(float{});
  if (dtype == DType::BFloat16) return body(__nv_bfloat16{});
  if (dtype == DType::Float16) return body(__half{});
  fail_element(dtype);
}

/// Calls body(std::true_type or std::false_type).
template <class Body>
void with_flag(bool flag, Body&& body) {
  if (flag) return body(std::true_type{});
  return body(std::false_type{});
}

}  // namespace plumb::cuda
