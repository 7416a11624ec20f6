// The arithmetic of the emulated cuBLASLt.
#pragma once

#include "host/cublaslt_validation.h"

namespace plumb::emulation {

/// Factors are widened to fp32 (rounded to tf32 for CUBLAS_COMPUTE_32F_FAST_TF32) and multiplied by oneDNN;
/// C, bias and gelu (its tanh approximation) are fp32; D, aux and bias gradients are rounded once to their
/// type. The workspace is filled with 0xff.
void multiply(const MatmulProblem& problem, const MatmulPointers& pointers, float alpha, float beta);

}  // namespace plumb::emulation
