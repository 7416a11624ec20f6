// The cpu backend: OpenMP threads, vectorised loops, oneDNN for matrix products.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace plumb {

/// compute_dtypes() = {fp32, bf16}; the master dtype is fp32. Memory is the host's, streams run at once.
std::unique_ptr<Backend> make_cpu_backend();

}  // namespace plumb
