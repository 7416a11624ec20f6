// All that kernels use of CUDA C++.
#pragma once

#include "qualifiers.h"
// In this order: the functions may use the types.
#include "atomics.h"
#include "barrier_intrinsics.h"
#include "bit_intrinsics.h"
#include "math_intrinsics.h"
#include "memory_intrinsics.h"
#include "shared_variables.h"
#include "thread_view.h"
#include "warp_intrinsics.h"

#define threadIdx (::plumb::emulation::running_thread->index)
#define blockIdx (::plumb::emulation::running_thread->block->index)
#define blockDim (::plumb::emulation::running_thread->block->threads)
#define gridDim (::plumb::emulation::running_thread->block->grid)
#define warpSize 32
