// The kernels of a training step, each with the bytes that it must move and the operations that it must do:
// what its time is held against.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "gpu/device_memory.h"
#include "gpu/peaks.h"

namespace plumb::gpu {

/// A kernel, or the few that make up one op.
struct KernelCase {
  std::string name, shape;
  double bytes = 0;       ///< least traffic: every input read once, every output written once
  double operations = 0;  ///< floating-point, multiply and add counted as two
  bool tensor_cores = false;
  /// Prepares memory once and returns what issues the op.
  std::function<std::function<void()>(Backend&, Stream&, DeviceMemory&)> prepare;
};

/// The model whose kernels these are. Default: 12 blocks of width 768 with 12 heads on 8 sequences of 1024
/// tokens, vocabulary padded to 50304: 124 M parameters.
struct KernelSizes {
  std::int64_t blocks = 12, batch = 8, tokens = 1024, width = 768, heads = 12, vocabulary = 50304;
  std::int64_t parameters = 124'000'000;
  DType compute = DType::BFloat16;

  std::int64_t rows() const { return batch * tokens; }
  std::int64_t head_width() const { return width / heads; }
  std::int64_t inner() const { return 4 * width; }
  double compute_bytes() const { return static_cast<double>(size_of(compute)); }
  /// Bytes of an activation of (rows, width) and of one of (rows, inner).
  double activation() const { return static_cast<double>(rows() * width) * compute_bytes(); }
  double inner_activation() const { return 4 * activation(); }
};
std::vector<KernelCase> kernel_cases(const KernelSizes& sizes = {});

/// The roofline's time in seconds: the longer of moving the bytes and doing the operations.
double predicted_seconds(const KernelCase& one, const Peaks& peaks);

}  // namespace plumb::gpu
