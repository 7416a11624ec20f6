// The reference backend: plain loops over a scalar type (fp64, fp32), one thread, no cleverness. It runs any
// whole model and is the oracle of every other backend.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace plumb {

/// compute_dtypes() = {fp64, fp32}; the master dtype is the compute dtype. Memory is the host's, streams run
/// at once, every sum is taken in double whatever the dtype.
std::unique_ptr<Backend> make_reference_backend();

}  // namespace plumb
