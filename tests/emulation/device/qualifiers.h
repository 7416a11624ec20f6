// CUDA's types and headers under the host's compiler, with the qualifiers of device code made void.
#pragma once

// NVIDIA's headers define words that these use, so they come first.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

// clang-format off
#include <cuda_runtime_api.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>
// clang-format on

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __launch_bounds__
#undef __grid_constant__
// Not replaced, so that nobody takes an automatic variable for shared memory: PLUMB_SHARED declares it.
#undef __shared__
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __launch_bounds__(...)
#define __grid_constant__
