// Tensor-core products and asynchronous copies: the only instructions that are written as PTX. The include
// path decides between the instructions and their emulation.
#pragma once

#include "tensor_core_instructions.cuh"
