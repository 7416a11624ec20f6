// The cpu backend: threads (core/parallel_for.h), vectorised loops, oneDNN or our own kernels for matrix
// products (sgemm.h).
#pragma once

#include <memory>

#include "backend/backend.h"

namespace plumb {

/// Only after require_compiled_instruction_sets() (instruction_sets.h), which make_backend calls: this is
/// already compiled for those. compute_dtypes() = {fp32, bf16}; the master dtype is fp32. Memory is the
/// host's, streams run at once. `communicator`: see BackendOptions.
std::unique_ptr<Backend> make_cpu_backend(Communicator* communicator = nullptr);

}  // namespace plumb
