// The account of a whole training step: every kernel in order, with what it moves and does.
#pragma once

#include <vector>

#include "gpu/counting_backend.h"
#include "gpu/kernel_cases.h"

namespace plumb::gpu {

/// Equal kernels of a step, in the place of the first of them.
struct AccountRow {
  CountedKernel kernel;
  int times = 0;
};

/// One step of a GPT-2 (pre-norm, biases, learned positions, tied head, no dropout) of these sizes with AdamW
/// and default statistics of every step, on one GPU and with one micro-batch, issued to the counting backend.
std::vector<AccountRow> account_of_step(const KernelSizes& sizes = {});

/// The roofline's time in seconds of one of them.
double predicted_seconds(const CountedKernel& kernel, const Peaks& peaks);

}  // namespace plumb::gpu
