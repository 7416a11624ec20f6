// Pinned host memory: what copies may read and write while host code goes on.
#pragma once

#include <cstddef>

namespace plumb::emulation {

enum class HostRange { Pageable, Pinned, Straddles };

/// Straddles: only a part of [data, data + bytes) is pinned, which no copy accepts.
HostRange host_range(const void* data, std::size_t bytes);

}  // namespace plumb::emulation
