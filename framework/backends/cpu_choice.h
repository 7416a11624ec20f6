// The cpu backend as the loader sees it. A build without oneDNN has another source file for it (no_cpu.cpp).
#pragma once

#include <memory>

#include "backend/backend.h"

namespace plumb {

/// Whether this build has the cpu backend.
bool has_cpu_backend();
/// InputError when the processor lacks instruction sets that this build is made for.
void require_processor();
/// After require_processor(). InputError when this build has none.
std::unique_ptr<Backend> make_cpu_backend_if_built(Communicator* communicator);

}  // namespace plumb
