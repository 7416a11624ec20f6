// The GPU of this rank.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"

namespace plumb::cuda {

/// Makes device `local_rank` of those that CUDA_VISIBLE_DEVICES leaves the device of this thread. A rank that
/// sees one device takes that: the launcher may have given each its own, which DeviceFacts::identity shows.
/// InputError when this host shows several devices but fewer than `local_size` ranks need: two ranks cannot
/// share a GPU.
void bind_device(int local_rank, int local_size);

/// Name, compute capability, memory, library versions.
DeviceFacts device_facts();

}  // namespace plumb::cuda
