// How kernels declare shared memory.
#pragma once

#include <source_location>

#include "shared_memory.h"

namespace plumb::emulation {

/// This block's variable.
void* shared_variable(const SharedDeclaration& declaration,
                      std::source_location location = std::source_location::current());
/// The launch's dynamic shared memory.
void* dynamic_shared_variable(std::source_location location = std::source_location::current());

}  // namespace plumb::emulation

/// A reference of that name to this block's variable; framework/backends/cuda/nvcc/portability.cuh has the
/// real one.
#define PLUMB_SHARED(type, name, dimensions)                                                             \
  using name##_shared_type = type dimensions;                                                            \
  static constexpr ::plumb::emulation::SharedDeclaration name##_declaration{#name,                       \
                                                                            sizeof(name##_shared_type)}; \
  auto& name = *static_cast<name##_shared_type*>(::plumb::emulation::shared_variable(name##_declaration))
#define PLUMB_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::plumb::emulation::dynamic_shared_variable())
